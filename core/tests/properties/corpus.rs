//! The promises of the fuzz targets, for their corpus and for random bytes.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::promises;

fn replay(target: &str, promise: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        std::panic::catch_unwind(|| promise(&input)).unwrap_or_else(|_| panic!("broken by {}", path.display()));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", directory.display());
}

macro_rules! promises_of {
    ($($target:ident)*) => {$(
        mod $target {
            use super::*;

            #[test]
            fn the_corpus_breaks_no_promise() {
                replay(stringify!($target), promises::$target);
            }

            proptest! {
                #[test]
                fn any_bytes_break_no_promise(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
                    promises::$target(&bytes);
                }

                #[test]
                fn any_text_breaks_no_promise(text in "(?s).{0,200}") {
                    promises::$target(text.as_bytes());
                }
            }
        }
    )*};
}

promises_of! { jit_blob imds_bodies console_line perf_log configuration }
