//! `bindery install`: this program, laid out where Dapr's CLI looks for `daprd`.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// In every program of ours, so that one can be told from others.
const MARK: &str = "this file is Bindery, whatever its name";

/// What Dapr's CLI gives each sidecar where nobody names another.
const CONFIGURATION: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: daprConfig
spec: {}
";

/// Arguments of `bindery install`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery install --as-daprd ~                # dapr run finds it
  bindery install --as-daprd /opt/dapr        # dapr run --runtime-path /opt/dapr finds it

In DIR it makes .dapr/bin/daprd, .dapr/components and .dapr/config.yaml, and leaves what is there;
`dapr init` is not needed. Of another daprd only --force makes this one.")]
pub(super) struct InstallArgs {
    /// Where Dapr's CLI looks: the home folder, or what `DAPR_RUNTIME_PATH` names.
    #[arg(long, value_name = "DIR")]
    as_daprd: PathBuf,
    /// A symbolic link to this program instead of a copy: what replaces it replaces daprd too.
    #[arg(long)]
    link: bool,
    /// Replaces a daprd that is another program.
    #[arg(long)]
    force: bool,
}

/// Lays it out, and says what it did.
pub(super) fn run(arguments: &InstallArgs) -> ExitCode {
    match install(arguments) {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> String {
    move |error: io::Error| format!("{}: {error}", path.display())
}

fn install(arguments: &InstallArgs) -> Result<String, String> {
    let folder = std::path::absolute(&arguments.as_daprd).map_err(at(&arguments.as_daprd))?;
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    if folder.file_name().is_some_and(|name| name == ".dapr") {
        return Err(format!(
            "Dapr's CLI adds .dapr to the folder that it is given: write --as-daprd {}",
            folder.parent().unwrap_or(&folder).display()
        ));
    }
    let dapr = folder.join(".dapr");
    let bin = dapr.join("bin");
    let daprd = bin.join("daprd");
    let before = found(&daprd, &program)?;
    if before == Found::Other && !arguments.force {
        return Err(format!(
            "{} is another program. Put it elsewhere, choose another DIR, or replace it with --force",
            daprd.display()
        ));
    }
    fs::create_dir_all(&bin).map_err(at(&bin))?;
    let mut said = String::new();
    let mut say = |path: &Path, what: &dyn Display| {
        said.push_str(&format!("{}: {what}\n", path.display()));
    };
    if before == Found::Itself {
        say(&daprd, &"is this program already");
    } else {
        put(&program, &daprd, arguments.link).map_err(at(&daprd))?;
        let how = if arguments.link {
            "a link to"
        } else {
            "a copy of"
        };
        let replaced = match before {
            Found::Other => ", in place of another program",
            Found::Ours => ", in place of another Bindery",
            Found::Nothing | Found::Itself => "",
        };
        say(
            &daprd,
            &format_args!("{how} {}{replaced}", program.display()),
        );
    }
    let components = dapr.join("components");
    if components.is_dir() {
        say(&components, &"was there");
    } else {
        fs::create_dir_all(&components).map_err(at(&components))?;
        say(&components, &"a folder for components that all apps share");
    }
    let configuration = dapr.join("config.yaml");
    if configuration.exists() {
        say(&configuration, &"was there");
    } else {
        fs::write(&configuration, CONFIGURATION).map_err(at(&configuration))?;
        say(&configuration, &"a Configuration that sets nothing");
    }
    said.push_str(&next(&folder));
    Ok(said)
}

/// What to type next.
fn next(folder: &Path) -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let finds = if home.as_deref() == Some(folder) {
        "\nDapr's CLI looks there by itself:\n".to_owned()
    } else {
        format!(
            "\nDapr's CLI looks there after\n  export DAPR_RUNTIME_PATH={}\nor with --runtime-path:\n",
            folder.display()
        )
    };
    format!(
        "{finds}  dapr run --app-id orders --app-port 5000 --resources-path ./components -- python3 app.py\n"
    )
}

/// What is there in place of daprd.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// This program itself.
    Itself,
    /// Some version of this program.
    Ours,
    /// Something else.
    Other,
}

fn found(daprd: &Path, program: &Path) -> Result<Found, String> {
    if daprd.symlink_metadata().is_err() {
        return Ok(Found::Nothing);
    }
    let same = |path: &Path| path.canonicalize().ok();
    if same(daprd).is_some() && same(daprd) == same(program) {
        return Ok(Found::Itself);
    }
    match fs::read(daprd) {
        Ok(bytes) if memchr::memmem::find(&bytes, MARK.as_bytes()).is_some() => Ok(Found::Ours),
        Ok(_) => Ok(Found::Other),
        // A link that leads nowhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(at(daprd)(error)),
    }
}

/// Puts it there in one step, so that a start meanwhile finds the old one or the new one, and one
/// that runs goes on.
fn put(program: &Path, daprd: &Path, link: bool) -> io::Result<()> {
    let new = daprd.with_file_name(format!("daprd.{}.new", std::process::id()));
    let made = if link {
        std::os::unix::fs::symlink(program, &new)
    } else {
        fs::copy(program, &new).map(drop)
    };
    let put = made.and_then(|()| fs::rename(&new, daprd));
    if put.is_err() {
        let _ = fs::remove_file(&new);
    }
    put
}
