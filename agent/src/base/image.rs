//! The file in which an image says what it is.

use std::io;
use std::path::PathBuf;

use mayfly_core::image::{Image, LONGEST, NotAnImage};
use thiserror::Error;

use super::reading;

/// Where it is.
const PATH: &str = "/usr/share/mayfly/image.json";

/// Why it tells nothing although it is there.
#[derive(Debug, Error)]
pub enum ImageError {
    /// It cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unread {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It has something else in it.
    #[error("{path}: {error}")]
    NotUnderstood {
        /// Which file.
        path: String,
        /// Why.
        error: NotAnImage,
    },
}

/// Where it is. `MAYFLY_IMAGE_FILE` names another one, for tests.
#[must_use]
pub fn path() -> PathBuf {
    std::env::var_os("MAYFLY_IMAGE_FILE").map_or_else(|| PathBuf::from(PATH), PathBuf::from)
}

/// What it says; `None` where there is none.
///
/// # Errors
/// It is there, and nothing of it can be believed.
pub fn read() -> Result<Option<Image>, ImageError> {
    let path = path();
    let told = path.display().to_string();
    // One byte more than there may be, so that a longer file is noticed.
    match reading::at_most(&path, LONGEST + 1) {
        Ok(content) => match Image::read(&content) {
            Ok(image) => Ok(Some(image)),
            Err(error) => Err(ImageError::NotUnderstood { path: told, error }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageError::Unread { path: told, error }),
    }
}
