//! The forms in which a certificate and its key come, each written by the real OpenSSL.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bindery_contract::OpenError;
use bindery_testkit::identity::{Identity, token};
use proptest::prelude::*;
use serde_json::Value;

use self::common::{AUTHORITY, Pairs, alone, ask, entra, provider};

const IDS: [(&str, &str); 2] = [("azureTenantId", "tenant"), ("azureClientId", "client")];
const CERTIFICATE: &str = "azureCertificate";
const FILE: &str = "azureCertificateFile";
const PASSWORD: &str = "azureCertificatePassword";

/// Options of `openssl pkcs12 -export`: how it writes today, how it and others wrote before.
const PFX: [&str; 9] = [
    "",
    "-legacy",
    "-certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1",
    "-certpbe AES-128-CBC -keypbe AES-128-CBC -macalg sha512",
    "-certpbe DES-EDE3-CBC -keypbe DES-EDE3-CBC",
    "-certpbe NONE -keypbe NONE",
    "-nomac",
    "-iter 5000",
    // A certificate that is not the key's own.
    "-certfile ec.crt",
];

/// Options of `openssl pkcs8 -topk8`.
const PKCS8: [&str; 5] = [
    "",
    "-v2 aes-128-cbc",
    "-v2 des3",
    "-v2prf hmacWithSHA1",
    "-v2prf hmacWithSHA512",
];

/// A folder with a key of each kind, and its certificate.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let workshop = Self(tempfile::tempdir().unwrap());
        for (name, kind) in [
            ("rsa", "rsa:2048"),
            ("ec", "ec -pkeyopt ec_paramgen_curve:P-256"),
        ] {
            workshop.openssl(&format!(
                "req -x509 -newkey {kind} -nodes -subj /CN=client -days 2 -keyout {name}.key \
                 -out {name}.crt"
            ));
        }
        workshop
    }

    fn openssl(&self, arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(arguments.split_ascii_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl has to be installed for this test");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {complaint}");
        output.stdout
    }

    fn pfx(&self, name: &str, options: &str, password: &str) -> Vec<u8> {
        self.openssl(&format!(
            "pkcs12 -export -inkey {name}.key -in {name}.crt -passout pass:{password} {options}"
        ))
    }

    /// PEM with an encrypted key.
    fn pem(&self, options: &str, password: &str) -> String {
        let key = self.openssl(&format!(
            "pkcs8 -topk8 -in rsa.key -passout pass:{password} {options}"
        ));
        self.text("rsa.crt") + &String::from_utf8(key).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join("certificate");
        fs::write(&file, bytes).unwrap();
        file
    }

    /// The SHA-256 of a certificate, as JWTs have it.
    fn thumbprint(&self, name: &str) -> String {
        let said = self.openssl(&format!("x509 -in {name}.crt -noout -fingerprint -sha256"));
        let said = String::from_utf8(said).unwrap();
        let digits = said.trim().rsplit('=').next().unwrap().split(':');
        let bytes: Vec<_> = digits
            .map(|digits| u8::from_str_radix(digits, 16).unwrap())
            .collect();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// With these settings one signs for the certificate that has this thumbprint.
async fn signs(authority: &Identity, settings: Pairs<'_>, thumbprint: &str) {
    let given = ask(&[&IDS, settings].concat()).await.unwrap();
    assert_eq!(given.pass.expose(), "given");
    let question = authority.questions().pop().unwrap();
    let assertion = question.get("client_assertion").unwrap();
    let header = assertion.split('.').next().unwrap();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["x5t#S256"], thumbprint);
}

async fn authority() -> Identity {
    provider(AUTHORITY, token("given", 60)).await
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

#[test]
fn a_pfx_of_any_age_is_read_from_a_file_and_from_the_setting() {
    let test = "a_pfx_of_any_age_is_read_from_a_file_and_from_the_setting";
    alone(test, async || {
        let authority = authority().await;
        let workshop = Workshop::new();
        let thumbprint = workshop.thumbprint("rsa");
        for options in PFX {
            for password in ["", "hunter2", "grüße✓"] {
                println!("{options} {password:?}");
                let pfx = workshop.pfx("rsa", options, password);
                let file = workshop.write(&pfx);
                let settings = [(FILE, path(&file)), (PASSWORD, password)];
                signs(&authority, &settings, &thumbprint).await;
                let base64 = BASE64_STANDARD.encode(&pfx);
                let settings = [(CERTIFICATE, &*base64), (PASSWORD, password)];
                signs(&authority, &settings, &thumbprint).await;
            }
        }
    });
}

#[test]
fn base64_may_be_broken_into_lines_and_be_in_the_file() {
    alone(
        "base64_may_be_broken_into_lines_and_be_in_the_file",
        async || {
            let authority = authority().await;
            let workshop = Workshop::new();
            let thumbprint = workshop.thumbprint("rsa");
            workshop.write(&workshop.pfx("rsa", "", ""));
            let lines = workshop.openssl("base64 -in certificate");
            let text = String::from_utf8(lines).unwrap();
            signs(&authority, &[(CERTIFICATE, &text)], &thumbprint).await;
            let file = workshop.write(text.as_bytes());
            signs(&authority, &[(FILE, path(&file))], &thumbprint).await;
            let pem = BASE64_STANDARD.encode(workshop.text("rsa.key") + &workshop.text("rsa.crt"));
            signs(&authority, &[(CERTIFICATE, &pem)], &thumbprint).await;
        },
    );
}

#[test]
fn a_key_in_pem_may_be_encrypted() {
    alone("a_key_in_pem_may_be_encrypted", async || {
        let authority = authority().await;
        let workshop = Workshop::new();
        let thumbprint = workshop.thumbprint("rsa");
        for options in PKCS8 {
            println!("{options}");
            let pem = workshop.pem(options, "hunter2");
            signs(
                &authority,
                &[(CERTIFICATE, &pem), (PASSWORD, "hunter2")],
                &thumbprint,
            )
            .await;
            let file = workshop.write(pem.as_bytes());
            signs(
                &authority,
                &[(FILE, path(&file)), (PASSWORD, "hunter2")],
                &thumbprint,
            )
            .await;
        }
        // A password that nothing needs is of no use, and no harm.
        let pem = workshop.text("rsa.key") + &workshop.text("rsa.crt");
        signs(
            &authority,
            &[(CERTIFICATE, &pem), (PASSWORD, "hunter2")],
            &thumbprint,
        )
        .await;
    });
}

#[test]
fn the_file_counts_where_both_are_given() {
    alone("the_file_counts_where_both_are_given", async || {
        let authority = authority().await;
        let workshop = Workshop::new();
        let file = workshop.write(&workshop.pfx("rsa", "", ""));
        let settings = [(CERTIFICATE, "of no use"), (FILE, path(&file))];
        signs(&authority, &settings, &workshop.thumbprint("rsa")).await;
    });
}

/// Why these settings can never work.
fn problem(certificate: &str, password: &str) -> String {
    let settings = [
        &IDS[..],
        &[(CERTIFICATE, certificate), (PASSWORD, password)],
    ]
    .concat();
    let Err(error) = entra(&settings) else {
        panic!("it is taken");
    };
    error.to_string()
}

#[test]
fn a_password_that_is_wrong_or_missing_is_named() {
    let workshop = Workshop::new();
    let pfx = PFX.iter().filter(|options| **options != "-nomac");
    let pfx = pfx.map(|options| BASE64_STANDARD.encode(workshop.pfx("rsa", options, "hunter2")));
    let pem = PKCS8.iter().map(|options| workshop.pem(options, "hunter2"));
    for certificate in pfx.chain(pem) {
        assert_eq!(
            problem(&certificate, "hunter3"),
            "setting \"azureCertificatePassword\": does not open azureCertificate"
        );
        assert_eq!(
            problem(&certificate, ""),
            "setting \"azureCertificatePassword\": is needed: azureCertificate is encrypted"
        );
    }
}

#[test]
fn a_file_may_be_replaced_by_one_that_can_be_opened() {
    alone(
        "a_file_may_be_replaced_by_one_that_can_be_opened",
        async || {
            let authority = authority().await;
            let workshop = Workshop::new();
            let file = workshop.write(&workshop.pfx("rsa", "", "hunter2"));
            for (password, says) in [
                ("hunter3", "is not opened by azureCertificatePassword"),
                ("", "needs azureCertificatePassword"),
            ] {
                let settings = [(FILE, path(&file)), (PASSWORD, password)];
                let error = ask(&[&IDS[..], &settings].concat()).await.unwrap_err();
                assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
                assert_eq!(error.to_string(), format!("{} {says}", file.display()));
            }
            workshop.write(&workshop.pfx("rsa", "", "hunter3"));
            let settings = [(FILE, path(&file)), (PASSWORD, "hunter3")];
            signs(&authority, &settings, &workshop.thumbprint("rsa")).await;
        },
    );
}

#[test]
fn what_cannot_be_used_says_why() {
    let workshop = Workshop::new();
    let ec = workshop.pfx("ec", "", "p");
    let certificate = "pkcs12 -export -nokeys -in rsa.crt -passout pass:p";
    let key = "pkcs12 -export -nocerts -inkey rsa.key -passout pass:p";
    let traditional = "rsa -in rsa.key -aes256 -traditional -passout pass:p";
    let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let encryption = "is encrypted in a way that cannot be read: use AES-256";
    for (text, says) in [
        (base64(&ec), "holds no RSA key that can be used"),
        (base64(&workshop.openssl(certificate)), "holds no RSA key"),
        (base64(&workshop.openssl(key)), "holds no certificate"),
        (workshop.pem("-v1 PBE-SHA1-3DES", "p"), encryption),
        (workshop.pem("-scrypt", "p"), encryption),
        (workshop.pem("-iter 1000001", "p"), encryption),
        (
            base64(&workshop.pfx("rsa", "-iter 1000001", "p")),
            encryption,
        ),
        (
            base64(&workshop.pfx("rsa", "-keypbe PBE-SHA1-RC2-128 -legacy", "p")),
            encryption,
        ),
        (
            workshop.text("rsa.crt") + &String::from_utf8(workshop.openssl(traditional)).unwrap(),
            encryption,
        ),
        (
            workshop.text("rsa.key") + &workshop.text("ec.crt"),
            "does not belong to the certificate",
        ),
        ("rubbish".into(), "is neither PEM nor PKCS#12 (PFX)"),
        ("MAAA".into(), "is no PKCS#12 (PFX) that can be read"),
    ] {
        let error = problem(&text, "p");
        let says = format!("setting \"azureCertificate\": {says}");
        assert!(error.starts_with(&says), "{error}");
    }
}

/// Files that are read to the end, without a sum that tells at once that they are broken.
fn open_files() -> Vec<Vec<u8>> {
    let workshop = Workshop::new();
    let plain = "-certpbe NONE -keypbe NONE -nomac";
    let old = "-certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -nomac -iter 1";
    vec![
        workshop.pfx("rsa", plain, "p"),
        workshop.pfx("rsa", "-nomac -iter 1", "p"),
        workshop.pfx("rsa", old, "p"),
        workshop.pem("-iter 1", "p").into_bytes(),
    ]
}

/// What becomes of it does not matter, as long as it is an answer.
fn is_answered(bytes: &[u8]) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => BASE64_STANDARD.encode(bytes),
    };
    let _ = entra(&[&IDS[..], &[(CERTIFICATE, &text), (PASSWORD, "p")]].concat());
}

#[test]
fn a_file_that_ends_early_is_an_error() {
    for file in open_files().iter().take(3) {
        for length in 1..file.len() {
            let text = BASE64_STANDARD.encode(&file[..length]);
            assert!(problem(&text, "p").starts_with("setting \"azureCertificate"));
        }
    }
}

#[test]
fn no_file_is_too_strange_for_an_answer() {
    let files = open_files();
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 1..6);
    proptest!(|(file in prop::sample::select(files), changes in changes)| {
        let mut file = file;
        for (place, byte) in changes {
            *place.get_mut(&mut file) = byte;
        }
        is_answered(&file);
    });
    proptest!(|(mut rubbish in prop::collection::vec(any::<u8>(), 0..200))| {
        is_answered(&rubbish);
        rubbish.insert(0, 0x30);
        is_answered(&rubbish);
    });
}

#[tokio::test]
async fn a_file_without_an_end_is_not_read_to_its_end() {
    let settings = [&IDS[..], &[(FILE, "/dev/zero")]].concat();
    let error = ask(&settings).await.unwrap_err();
    assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
    assert_eq!(error.to_string(), "/dev/zero is larger than 1048576 bytes");
}
