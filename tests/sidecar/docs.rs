//! The documentation does what it says: each page's files are written into a folder of its own,
//! its commands are run there, and what it says they print is compared.
//!
//! A fenced block says by the second word after its backquotes what it is: `file=PATH` is
//! written, `run` is run, `background` is started and ended with the page, `output` is what the
//! last run must have printed, line by line, in order. Other shell blocks are for readers only and
//! say `skip`.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{POD, binary, free_port, request, signal, wait_for};

struct Block {
    language: String,
    role: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                let (language, role) = info.split_once(' ').unwrap_or((info, ""));
                open = Some(Block {
                    language: language.into(),
                    role: role.into(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// A page being followed: in a folder and on ports of its own.
struct Reader {
    folder: tempfile::TempDir,
    http_port: u16,
    app_port: u16,
    background: Vec<Child>,
    printed: String,
}

impl Reader {
    fn new() -> Self {
        let reader = Self {
            folder: tempfile::tempdir().unwrap(),
            http_port: free_port(),
            app_port: free_port(),
            background: Vec::new(),
            printed: String::new(),
        };
        // The pages use the default port; a sidecar of a test gets one of its own.
        let wrapper = format!(
            "#!/bin/sh\ncase \"$1\" in\n  run) shift; exec {bin} run --dapr-http-port {port} --dapr-grpc-port {grpc} \"$@\" ;;\n  \
             --app-id) exec {bin} --dapr-http-port {port} --dapr-grpc-port {grpc} --metrics-port 0 \"$@\" ;;\n  *) exec {bin} \"$@\" ;;\nesac\n",
            bin = binary().display(),
            port = reader.http_port,
            grpc = free_port()
        );
        let program = reader.folder.path().join(".bin/bindery");
        write(&program, &wrapper);
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        reader
    }

    fn shell(&self, script: &str) -> Command {
        let script = script
            .replace("3500", &self.http_port.to_string())
            .replace("5000 ", &format!("{} ", self.app_port));
        let path = std::env::var("PATH").unwrap();
        let bin = self.folder.path().join(".bin");
        let mut command = Command::new("bash");
        command
            .args(["-e", "-o", "pipefail", "-c", &script])
            .env("PATH", format!("{}:{path}", bin.display()))
            .env_remove(POD)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn follow(&mut self, block: &Block) {
        match block.role.split_once('=').unwrap_or((&block.role, "")) {
            ("file", path) => write(&self.folder.path().join(path), &block.text),
            ("run", _) => self.run(&block.text),
            ("background", _) => self.start(&block.text),
            ("output", _) => self.compare(&block.text),
            ("skip", _) => {}
            _ => assert!(
                !matches!(block.language.as_str(), "sh" | "bash" | "console"),
                "a shell block says neither run, background nor skip:\n{}",
                block.text
            ),
        }
    }

    fn run(&mut self, script: &str) {
        let output = self.shell(script).output().unwrap();
        self.printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{script}\nprinted: {}\nand: {}",
            self.printed,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts what goes on in the background, and waits until the sidecar can be called.
    fn start(&mut self, script: &str) {
        let log = std::fs::File::create(self.folder.path().join(".log")).unwrap();
        let child = self
            .shell(script)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        self.background.push(child);
        let log = self.folder.path().join(".log");
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        wait_for(
            &format!("{script}: {}", text()),
            Duration::from_secs(20),
            || {
                request(self.http_port, "GET", "/v1.0/healthz", &[], b"")
                    .is_ok_and(|a| a.status == 204)
            },
        );
    }

    fn compare(&self, expected: &str) {
        let mut rest = self.printed.as_str();
        for line in expected.lines().filter(|line| !line.trim().is_empty()) {
            match rest.find(line) {
                Some(at) => rest = &rest[at + line.len()..],
                None => panic!("{line:?} is not in:\n{}", self.printed),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.background {
            signal(child.id(), "TERM");
            let _ = child.wait();
        }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn follow(page: &str) {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let mut reader = Reader::new();
    for block in blocks(&text) {
        reader.follow(&block);
    }
}

macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        $(#[test]
        fn $name() {
            follow($page);
        })*

        const PAGES: &[&str] = &[$($page),*];
    };
}

pages! {
    readme: "README.md",
    getting_started: "docs/getting-started.md",
    receive_events: "docs/receive-events.md",
    call_a_system: "docs/call-a-system.md",
    secrets: "docs/secrets.md",
    read_a_failure: "docs/read-a-failure.md",
    embed: "docs/embed.md",
    write_a_binding: "docs/write-a-binding.md",
    differences: "docs/differences.md",
    operate: "docs/operate.md",
    compatibility: "docs/compatibility.md",
    dapr_cli: "docs/dapr-cli.md",
    pluggable: "docs/pluggable.md",
    semantics: "docs/semantics.md",
    faults: "docs/faults.md",
    performance: "docs/performance.md",
    metrics: "docs/metrics.md",
    traces: "docs/traces.md",
    deploy: "deploy/README.md",
    migrate_from_dapr: "examples/migrate-from-dapr.md",
    quickstart: "examples/quickstart/README.md",
}

#[test]
fn every_page_is_followed() {
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let page = format!("docs/{}", path.file_name().unwrap().to_string_lossy());
        let is_page = path.extension().is_some_and(|extension| extension == "md");
        assert!(!is_page || PAGES.contains(&page.as_str()), "{page}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in PAGES {
        let path = root().join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                let target = path.parent().unwrap().join(target);
                assert!(target.exists(), "{page}: {}", target.display());
            }
        }
    }
}

#[test]
fn the_quickstart_folder_holds_what_getting_started_shows() {
    let page = std::fs::read_to_string(root().join("docs/getting-started.md")).unwrap();
    for block in blocks(&page) {
        if let Some(path) = block.role.strip_prefix("file=") {
            let file = root().join("examples/quickstart").join(path);
            assert_eq!(std::fs::read_to_string(file).unwrap(), block.text, "{path}");
        }
    }
}

/// What is written between backquotes, or between asterisks.
fn words(cell: &str, mark: char) -> impl Iterator<Item = &str> {
    cell.split(mark).skip(1).step_by(2)
}

/// The rows of all tables of a page, cell by cell.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let rows = text
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    rows.map(cells).collect()
}

/// The text of a file of tests; of the fault suite, its list of cases.
fn tests_in(file: &str) -> String {
    let path = match file {
        "tests/faults" => "tests/faults/src/cases/mod.rs".to_owned(),
        _ if file.contains('/') => file.to_owned(),
        _ => format!("tests/sidecar/{file}"),
    };
    let text = std::fs::read_to_string(root().join(&path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether it is the name of a test, written with this mark between its words.
fn is_name(word: &str, mark: char) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == mark;
    word.chars().all(is_part)
}

/// A page that says what holds a promise must be right about it.
#[test]
fn every_test_that_a_page_names_is_in_the_file_that_it_names() {
    for page in ["docs/compatibility.md", "docs/semantics.md"] {
        let (mut named, mut column, mut file) = (0, 0, String::new());
        for row in rows(page) {
            if let Some(at) = row.iter().position(|cell| cell == "held by") {
                column = at;
                continue;
            }
            for word in row.get(column).iter().flat_map(|cell| words(cell, '`')) {
                let is_source = Path::new(word).extension().is_some_and(|it| it == "rs");
                if is_source || word == "tests/faults" {
                    word.clone_into(&mut file);
                    continue;
                }
                let test = if file == "tests/faults" && is_name(word, '-') {
                    format!("name: \"{word}\"")
                } else if is_name(word, '_') && (word.contains('_') || word == "conformance") {
                    format!("fn {word}(")
                } else {
                    continue;
                };
                let is_there = tests_in(&file).contains(&test);
                assert!(is_there, "{page} names {word}, which is not in {file}");
                named += 1;
            }
        }
        assert!(named > 50, "{page}: {named}");
    }
}

#[test]
fn every_section_of_the_notes_has_its_line_and_every_difference_that_it_names_is_explained() {
    const SECTIONS: &str = "1.1 1.1.1 1.1.2 1.1.3 1.2 1.3 2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 3.1 3.2 3.3 \
        3.4 3.5 4.1 4.2 4.3 5 6.1 6.2 6.3 6.4 6.5 6.6 6.7 6.8 6.9 7 8 9.1 9.2 10.1 10.2 10.3";
    let differences = rows("docs/differences.md");
    let is_explained = |matter: &str| differences.iter().any(|row| row[0] == matter);
    let rows = rows("docs/compatibility.md");
    for section in SECTIONS.split_whitespace() {
        let row = rows.iter().find(|row| row[0] == section);
        let row = row.unwrap_or_else(|| panic!("{section} has no line"));
        assert!(row[2].contains('`'), "{section} names no test");
        for matter in words(&row[3], '*') {
            assert!(
                is_explained(matter),
                "{section}: {matter:?} is no difference"
            );
        }
    }
}
