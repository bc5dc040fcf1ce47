//! What a JIT configuration is made of, so that no log line can carry a part of it.
//!
//! Nothing of it is kept: only hashes of its parts, side by side and not overlapping, so that one cannot be guessed from its
//! neighbour. A part has 24 characters of base64; a piece of the material is seen in a line if it has 47 characters or more
//! in a row, wherever it begins.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The length of a part.
const PART: usize = 24;

/// The base of the rolling hash: any odd number with its bits well spread.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// By which a part is suspected, all but for free.
    rolling: HashSet<u32>,
    /// By which it is known.
    parts: HashSet<u128>,
}

impl Material {
    /// Adds a text of which no line may carry a part. One of less than 24 characters protects nothing.
    pub fn add(&mut self, text: &[u8]) {
        for part in text.chunks_exact(PART) {
            self.rolling.insert(folded(part.iter().fold(0, |hash, byte| push(hash, *byte))));
            self.parts.insert(digest(part));
        }
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        self.rolling.extend(&other.rolling);
        self.parts.extend(&other.parts);
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether a line carries a part of it.
    #[must_use]
    pub fn is_in(&self, line: &[u8]) -> bool {
        if self.is_empty() || line.len() < PART {
            return false;
        }
        let leaving = (0..PART).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        let mut hash = 0;
        for (at, byte) in line.iter().enumerate() {
            hash = push(hash, *byte);
            if at >= PART {
                hash = hash.wrapping_sub(leaving.wrapping_mul(u64::from(line[at - PART]) + 1));
            }
            if at + 1 >= PART
                && self.rolling.contains(&folded(hash))
                && self.parts.contains(&digest(&line[at + 1 - PART..=at]))
            {
                return true;
            }
        }
        false
    }
}

fn push(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1)
}

fn folded(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

fn digest(part: &[u8]) -> u128 {
    let hash = Sha256::digest(part);
    hash.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secret() -> Vec<u8> {
        (0..3000_u32)
            .map(|n| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[(n.wrapping_mul(2_654_435_761) >> 27) as usize])
            .collect()
    }

    #[test]
    fn every_piece_of_47_characters_is_seen_wherever_it_is_and_nothing_of_the_material_is_kept() {
        let secret = secret();
        let mut material = Material::default();
        material.add(&secret);
        for at in 0..secret.len() - 47 {
            let line = [b"before ".as_slice(), &secret[at..at + 47], b" after"].concat();
            assert!(material.is_in(&line), "the piece at {at} would be shipped");
        }
        let kept = serde_json::to_string(&material).unwrap();
        let shown = secret.windows(8).any(|window| kept.as_bytes().windows(8).any(|kept| kept == window));
        assert!(!shown, "what is kept shows the material");
        let read: Material = serde_json::from_str(&kept).unwrap();
        assert_eq!(read, material, "an agent that is started again protects nothing");
    }

    #[test]
    fn other_lines_pass() {
        let mut material = Material::default();
        material.add(&secret());
        for line in
            ["", "short", "2026-11-21 08:00:00Z: Running job: build, a name of some length that is no secret at all"]
        {
            assert!(!material.is_in(line.as_bytes()), "{line}");
        }
        assert!(!Material::default().is_in(&secret()), "without material nothing is looked for");
    }
}
