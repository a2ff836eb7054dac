//! Certificates and keys in settings (M11).

use std::path::PathBuf;

/// Whether `text` holds at least one PEM block: a `BEGIN` line, base64, the `END` line of the
/// same label.
pub fn is_pem(text: &str) -> bool {
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        rest = &rest[start + "-----BEGIN ".len()..];
        let Some((label, body)) = rest.split_once("-----") else {
            return false;
        };
        if let Some((body, _)) = body.split_once(&format!("-----END {label}-----")) {
            // Headers, where there are any, end with an empty line.
            let base64 = body.rsplit("\n\n").next().unwrap_or(body);
            let is_base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
            return base64
                .bytes()
                .filter(|c| !c.is_ascii_whitespace())
                .all(is_base64);
        }
    }
    false
}

/// A value that should have been PEM, or the path of a file with PEM in it.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// There is a file, and it cannot be read.
    #[error("{path:?} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is a file, and it holds no PEM block.
    #[error("{path:?} holds no PEM block")]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// The value is neither.
    #[error("value is neither a valid file path nor a valid pem encoded string")]
    Neither,
}

/// The PEM text of a setting that may be PEM itself, or the path of a file with it.
///
/// # Errors
/// When it is neither; the error never contains the value, which may be a key.
pub fn pem_or_file(value: &str) -> Result<String, PemError> {
    if is_pem(value) {
        return Ok(value.to_owned());
    }
    let path = PathBuf::from(value);
    // A long or many-lined value is a damaged key, not a path: keep it out of the message.
    if value.len() > 4096 || value.contains('\n') || !path.exists() {
        return Err(PemError::Neither);
    }
    match std::fs::read_to_string(&path) {
        Ok(text) if is_pem(&text) => Ok(text),
        Ok(_) => Err(PemError::NotPem { path }),
        Err(source) => Err(PemError::Unreadable { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB+w==\n-----END CERTIFICATE-----\n";

    #[test]
    fn one_whole_block_makes_it_pem() {
        assert!(is_pem(CERTIFICATE));
        assert!(is_pem(&format!("subject: me\n{CERTIFICATE}")));
        assert!(is_pem(
            "-----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END KEY-----"
        ));
        for text in [
            "",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN A-----\nAAAA\n-----END B-----",
            "-----BEGIN A-----\n!!!!\n-----END A-----",
        ] {
            assert!(!is_pem(text), "{text}");
        }
    }

    #[test]
    fn a_path_is_read_and_a_damaged_key_is_not_printed() {
        let path = std::env::temp_dir().join(format!("bindery-pem-{}", std::process::id()));
        std::fs::write(&path, CERTIFICATE).unwrap();
        assert_eq!(pem_or_file(path.to_str().unwrap()).unwrap(), CERTIFICATE);
        std::fs::write(&path, "hello").unwrap();
        assert!(matches!(
            pem_or_file(path.to_str().unwrap()),
            Err(PemError::NotPem { .. })
        ));
        std::fs::remove_file(&path).unwrap();
        let error = pem_or_file("-----BEGIN KEY-----\nhunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
