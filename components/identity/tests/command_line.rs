//! Tokens that the Azure CLI gives. Its place is taken by a script with its name, which prints
//! what the CLI prints.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bindery_contract::{Clock, OpenError};
use bindery_identity::Provider;
use bindery_testkit::alone::is_alone;
use bindery_testkit::identity::token;
use tokio::task::{spawn_blocking, yield_now};

use self::common::{MACHINE, Pairs, RESOURCE, alone_with, ask, entra, provider};

const CLI: [(&str, &str); 1] = [("azureAuthMethods", "cli")];

/// Runs a test with a program `az` that does as `script` says, and with a folder of its own.
fn with_az(test: &str, script: &str, variables: Pairs<'_>, body: impl AsyncFnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    if is_alone(test) {
        let folder = std::env::var("FOLDER").unwrap();
        return alone_with(test, &[], async || body(folder.as_ref()).await);
    }
    let program = folder.path().join("az");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let folder = folder.path().to_str().unwrap();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let more = [("FOLDER", folder), ("PATH", &*path)];
    alone_with(test, &[&more, variables].concat(), async || ());
}

fn seconds() -> u64 {
    let now = Clock::system().wall();
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// How long a token is valid when `az` says this about its end.
async fn lifetime(folder: &Path, ends: &str) -> u64 {
    let said = format!(r#"{{"accessToken":"of-az",{ends}"tokenType":"Bearer"}}"#);
    fs::write(folder.join("said"), said).unwrap();
    let given = ask(&CLI).await.unwrap();
    assert_eq!(given.pass.expose(), "of-az");
    given.lifetime.as_secs()
}

#[test]
fn it_is_asked_for_a_token_of_the_tenant() {
    let test = "it_is_asked_for_a_token_of_the_tenant";
    let script = r#"
        for argument; do echo "$argument"; done >"$FOLDER/arguments"
        echo '{"accessToken": "of-az"}'
    "#;
    with_az(test, script, &[], async |folder| {
        let asked = [
            "account",
            "get-access-token",
            "--output",
            "json",
            "--resource",
            RESOURCE,
        ];
        for (tenant, more) in [("", vec![]), ("$(id) t", vec!["--tenant", "$(id) t"])] {
            let settings = [&CLI[..], &[("azureTenantId", tenant)]].concat();
            let given = ask(&settings).await.unwrap();
            assert_eq!(given.pass.expose(), "of-az");
            let arguments = fs::read_to_string(folder.join("arguments")).unwrap();
            let expected = [&asked[..], &more].concat();
            assert_eq!(arguments.lines().collect::<Vec<_>>(), expected);
        }
    });
}

#[test]
fn the_end_of_a_token_is_read_however_it_is_written() {
    let test = "the_end_of_a_token_is_read_however_it_is_written";
    // Nine hours before Greenwich.
    let variables = [("TZ", "JST-9")];
    with_az(test, r#"cat "$FOLDER/said""#, &variables, async |folder| {
        let ends = seconds() + 3000;
        let written = |offset: i64| {
            let ends = jiff::Timestamp::from_second(i64::try_from(ends).unwrap() + offset);
            ends.unwrap()
                .strftime("%Y-%m-%d %H:%M:%S.123456")
                .to_string()
        };
        let local = written(9 * 3600);
        let cloud_shell = written(0).replace(' ', "T") + "+00:00";
        for said in [
            format!(r#""expires_on":{ends},"#),
            format!(r#""expires_on":"{ends}","expiresOn":"1999-12-31 23:59:59.000000","#),
            format!(r#""expiresOn":"{local}","#),
            format!(r#""expiresOn":"{cloud_shell}","#),
        ] {
            let left = lifetime(folder, &said).await;
            assert!((2900..=3000).contains(&left), "{said}: {left}");
        }
        assert_eq!(lifetime(folder, r#""expires_on":1,"#).await, 0);
        // Nobody says it, so it is taken to end soon.
        for nothing in ["", r#""expiresOn":"soon","#] {
            assert_eq!(lifetime(folder, nothing).await, 300);
        }
    });
}

#[test]
fn what_it_complains_about_is_passed_on() {
    let test = "what_it_complains_about_is_passed_on";
    let script = r#"sh "$FOLDER/script""#;
    with_az(test, script, &[], async |folder| {
        for (script, says) in [
            (
                "printf 'WARNING: old\nERROR: Please run az login.\nmore\n' >&2; exit 1",
                "ERROR: Please run az login.",
            ),
            ("printf '\n  no python\n' >&2; exit 127", "no python"),
            ("printf 'red\\033\\n' >&2; exit 1", "red"),
            ("exit 3", "exit status: 3"),
            (
                "echo '{\"accessToken\":\"\"}'",
                "there is no accessToken in what it printed",
            ),
            (
                "echo secret-token",
                "what it printed cannot be read (Syntax)",
            ),
            ("echo '{}'", "what it printed cannot be read (Data)"),
            ("exec cat /dev/zero", "it says more than 262144 bytes"),
            ("exec cat /dev/zero >&2", "it says more than 262144 bytes"),
        ] {
            fs::write(folder.join("script"), script).unwrap();
            let error = ask(&CLI).await.unwrap_err();
            assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
            assert_eq!(error.to_string(), format!("no token from az: {says}"));
        }
        fs::write(folder.join("script"), "printf '%01000d' 1 >&2; exit 1").unwrap();
        let error = ask(&CLI).await.unwrap_err().to_string();
        assert_eq!(error, format!("no token from az: {}", "0".repeat(500)));
    });
}

#[test]
fn a_program_that_cannot_be_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("az");
    fs::write(&program, "#!/nowhere\n").unwrap();
    let test = "a_program_that_cannot_be_run_is_named";
    let variables = [("PATH", folder.path().to_str().unwrap())];
    alone_with(test, &variables, async || {
        let error = ask(&CLI).await.unwrap_err();
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        let says = "no token from az: it cannot be run: Permission denied";
        assert!(error.to_string().starts_with(says), "{error}");
    });
}

#[test]
fn it_is_the_last_that_is_asked() {
    let test = "it_is_the_last_that_is_asked";
    let script = r#"echo '{"accessToken": "of-az"}'"#;
    with_az(test, script, &[], async |_| {
        assert_eq!(ask(&[]).await.unwrap().pass.expose(), "of-az");
        let _machine = provider(MACHINE, token("of-the-machine", 60)).await;
        assert_eq!(ask(&[]).await.unwrap().pass.expose(), "of-the-machine");
        let first = [("azureAuthMethods", "cli,mi")];
        assert_eq!(ask(&first).await.unwrap().pass.expose(), "of-az");
    });
}

#[test]
fn it_leaves_it_to_the_next_way_when_nobody_is_signed_in() {
    let test = "it_leaves_it_to_the_next_way_when_nobody_is_signed_in";
    with_az(test, "exit 1", &[], async |_| {
        let _machine = provider(MACHINE, token("of-the-machine", 60)).await;
        let settings = [("azureAuthMethods", "cli,mi")];
        assert_eq!(
            ask(&settings).await.unwrap().pass.expose(),
            "of-the-machine"
        );
    });
}

/// Works for long, with a program that it has started, which says in the end that nobody ended it.
const LONG: &str = r#"
    exec 9>"$FOLDER/pipe"
    (sleep 60; echo late >&9) &
    echo begun >&9
    wait
"#;

/// Waits until all that `az` has started is at work, then does `end`, which ends it all.
async fn until_the_end(folder: &Path, end: impl AsyncFnOnce()) {
    let pipe = folder.join("pipe");
    let opening = spawn_blocking(move || {
        let mut pipe = BufReader::new(fs::File::open(pipe).unwrap());
        pipe.read_line(&mut String::new()).unwrap();
        pipe
    });
    let mut pipe = opening.await.unwrap();
    end().await;
    let ending = spawn_blocking(move || {
        let mut rest = String::new();
        pipe.read_to_string(&mut rest).unwrap();
        rest
    });
    assert_eq!(ending.await.unwrap(), "");
}

fn pipe(folder: &Path) {
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
}

#[test]
fn it_ends_with_all_that_it_has_started_when_nobody_waits_for_it() {
    let test = "it_ends_with_all_that_it_has_started_when_nobody_waits_for_it";
    with_az(test, LONG, &[], async |folder| {
        pipe(folder);
        let asking = tokio::spawn(async { ask(&CLI).await });
        until_the_end(folder, async || asking.abort()).await;
    });
}

#[test]
fn it_has_thirty_seconds() {
    let test = "it_has_thirty_seconds";
    with_az(test, LONG, &[], async |folder| {
        pipe(folder);
        let asking = tokio::spawn(async {
            let entra = entra(&CLI).unwrap();
            entra.fetch(&Clock::system()).await
        });
        until_the_end(folder, async || {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(20)).await;
            yield_now().await;
            assert!(!asking.is_finished());
            tokio::time::advance(Duration::from_secs(11)).await;
            tokio::time::resume();
        })
        .await;
        let error = asking.await.unwrap().unwrap_err();
        assert!(matches!(error, OpenError::Disconnected(_)), "{error:?}");
        assert_eq!(error.to_string(), "no token from az: no answer within 30s");
    });
}
