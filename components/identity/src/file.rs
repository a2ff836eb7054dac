//! Files that others replace: read anew each time, and only so far.

use std::io;
use std::path::Path;

use bindery_contract::OpenError;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// The most that is read of a file, in bytes: a certificate with all its chain is far smaller.
const LARGEST: u64 = 1024 * 1024;

/// What a file holds.
pub(crate) async fn contents(file: &Path) -> Result<Vec<u8>, OpenError> {
    let reading = async {
        let mut bytes = Vec::new();
        let opened = File::open(file).await?;
        opened.take(LARGEST + 1).read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    let bytes: io::Result<Vec<u8>> = reading.await;
    let why = match bytes {
        Ok(bytes) if bytes.len() as u64 <= LARGEST => return Ok(bytes),
        Ok(_) => format!("is larger than {LARGEST} bytes"),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(OpenError::refused(format!("{} {why}", file.display())))
}

/// What a file holds that is a text, such as a signed token.
pub(crate) async fn text(file: &Path) -> Result<String, OpenError> {
    let text = String::from_utf8(contents(file).await?);
    text.map_err(|_| OpenError::refused(format!("{} is no text", file.display())))
}
