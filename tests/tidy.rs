//! Properties of the source that neither compiler nor linter can state, checked as a test: floors,
//! doors, headers, sizes, words, dead files, unsafe exceptions, and docs that keep step.
//!
//! Each rule has a self-test that plants a violation and expects it to be found. The rules read
//! text, not syntax: paths that macros make are invisible to them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The dependency law, ground floor first. A module may import itself and what its row lists.
const FLOORS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("io", &["base"]),
    ("tls", &["base"]),
    ("http", &["base"]),
    ("sse", &["base"]),
    ("log", &["base"]),
    ("config", &["base"]),
    ("metrics", &["base"]),
    ("route", &["base", "http", "config"]),
    ("auth", &["base", "http", "config", "metrics"]),
    ("backend", &["base", "config", "metrics"]),
    ("hub", &["base", "sse", "log", "config", "metrics"]),
    ("feed", &["base", "log", "sse", "config", "metrics"]),
    ("upstream", &["base", "http", "sse", "log", "config", "metrics", "backend"]),
    ("relay", &["base", "http", "sse", "config", "metrics", "backend", "route"]),
    (
        "session",
        &[
            "base", "http", "sse", "log", "config", "metrics", "route", "auth", "backend", "hub",
            "upstream", "relay",
        ],
    ),
    (
        "worker",
        &[
            "base", "io", "tls", "http", "sse", "log", "config", "metrics", "route", "auth",
            "backend", "hub", "feed", "upstream", "relay", "session",
        ],
    ),
    ("control", &["base", "io", "tls", "http", "log", "config", "metrics", "backend", "upstream"]),
    (
        "server",
        &[
            "base", "io", "tls", "http", "sse", "log", "config", "metrics", "route", "auth",
            "backend", "hub", "feed", "upstream", "relay", "session", "worker", "control",
        ],
    ),
    ("cli", &["base", "io", "http", "sse", "config", "metrics", "auth", "server"]),
    (
        "sim",
        &[
            "base", "io", "tls", "http", "sse", "log", "config", "metrics", "route", "auth",
            "backend", "hub", "feed", "upstream", "relay", "session", "worker",
        ],
    ),
];

/// Which modules may name an external crate; `*`: a vocabulary that every module may use.
const DOORS: &[(&str, &[&str])] = &[
    ("ahash", &["base"]),
    ("anyhow", &["cli"]),
    ("arrayvec", &["*"]),
    ("clap", &["cli"]),
    ("core_affinity", &["server"]),
    ("form_urlencoded", &["http", "hub"]),
    ("getrandom", &["base"]),
    ("hdrhistogram", &["cli"]),
    ("hickory_resolver", &["control"]),
    ("httparse", &["http"]),
    ("io_uring", &["io"]),
    ("jsonwebtoken", &["auth"]),
    ("libc", &["io"]),
    ("memchr", &["*"]),
    ("mimalloc", &["main"]),
    ("regex", &["config", "route"]),
    ("rustls", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("serde", &["config", "auth", "cli"]),
    ("serde_json", &["auth", "hub", "cli"]),
    ("smallvec", &["*"]),
    // The load generator chooses source addresses, which the standard library cannot.
    ("socket2", &["io", "cli"]),
    ("thiserror", &["*"]),
    ("tokio", &["control"]),
    ("tokio_uring", &["control"]),
    ("toml", &["config"]),
];

/// The files that may hold unsafe code, each for the reasons that its header gives.
const UNSAFE: &[&str] = &[
    "src/base/prefetch.rs",
    "src/io/poller.rs",
    "src/io/sys.rs",
    "src/io/uring/buffers.rs",
    "src/io/uring/ring.rs",
];

/// Words that do not pass a review, with what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("dbg!(", "remove it"),
    ("todo!(", "write it"),
    ("unimplemented!(", "write it"),
    ("FIXME", "fix it, or state the condition under which it is fixed"),
    ("XXX", "say what it is"),
    ("HACK", "say why it is right"),
    ("<<<<<<<", "finish the merge"),
    (">>>>>>>", "finish the merge"),
    ("Ctx", "name what it holds"),
    ("/home/", "no path of one machine"),
    ("/root/", "no path of one machine"),
];

/// File names that become attics.
const ATTICS: &[&str] = &["util", "utils", "common", "misc", "helpers", "core", "types"];

const FILE_LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

#[test]
fn tidy() {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches", "examples"] {
        collect(Path::new(dir), "rs", &mut files);
    }
    assert!(files.len() > 20, "run from the repository's root");
    let errors: Vec<_> =
        files.iter().flat_map(|p| check(p, &fs::read_to_string(p).unwrap())).collect();
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

/// Rows only mention rows above them, so the law has no cycle.
#[test]
fn floors_are_ordered() {
    for (row, (module, imports)) in FLOORS.iter().enumerate() {
        for import in *imports {
            let above = FLOORS[..row].iter().any(|(m, _)| m == import);
            assert!(above, "{module} -> {import} points up");
        }
    }
}

/// Every dependency has its door, and is used.
#[test]
fn dependencies_have_doors_and_use() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let declared: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect();
    let doors: BTreeSet<String> = DOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(declared, doors, "DOORS and [dependencies] differ");
    let source = text_of("src");
    let unused: Vec<_> =
        DOORS.iter().filter(|(n, _)| !mentions(&source, &format!("{n}::"))).collect();
    assert!(unused.is_empty(), "dependencies that nothing uses: {unused:?}");
}

/// The list of unsafe files is not longer than it must be, and each file gives its reasons.
#[test]
fn unsafe_files_state_their_invariants() {
    for path in UNSAFE {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("//! # Safety"), "{path} does not say why");
        assert!(text.contains("unsafe {"), "{path} has no unsafe code: take it off the list");
    }
}

/// Every source file is part of the program.
#[test]
fn no_file_is_dead() {
    let mut files = Vec::new();
    collect(Path::new("src"), "rs", &mut files);
    let read = |p: &Path| fs::read_to_string(p).unwrap_or_default();
    let dead = dead_files(&files, &read);
    assert!(dead.is_empty(), "not reachable by any `mod` line: {dead:?}");
}

#[test]
fn reports_a_dead_file() {
    let files =
        ["src/lib.rs", "src/a/mod.rs", "src/a/b.rs", "src/a/c.rs", "src/a/d.rs"].map(PathBuf::from);
    let read = |p: &Path| match p.to_str().unwrap() {
        "src/lib.rs" => "pub mod a;".to_owned(),
        "src/a/mod.rs" => "mod b;\n// mod c;\n#[path = \"d.rs\"]\nmod tests;".to_owned(),
        _ => String::new(),
    };
    assert_eq!(dead_files(&files, &read), [PathBuf::from("src/a/c.rs")]);
}

fn dead_files(files: &[PathBuf], read: &dyn Fn(&Path) -> String) -> Vec<PathBuf> {
    let mut open = vec![PathBuf::from("src/lib.rs"), PathBuf::from("src/main.rs")];
    let mut live = BTreeSet::new();
    while let Some(path) = open.pop() {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let dir = match stem.as_str() {
            "lib" | "main" | "mod" => path.parent().unwrap().to_owned(),
            _ => path.with_extension(""),
        };
        for line in read(&path).lines() {
            if let Some(name) = line.trim().strip_prefix("#[path = \"") {
                open.push(path.with_file_name(name.trim_end_matches("\"]")));
            }
            let Some(name) = line.trim().strip_suffix(';') else { continue };
            let Some(name) = name.split("mod ").nth(1).filter(|_| !name.contains("//")) else {
                continue;
            };
            open.push(dir.join(format!("{name}.rs")));
            open.push(dir.join(name).join("mod.rs"));
        }
        live.insert(path);
    }
    files.iter().filter(|f| !live.contains(*f)).cloned().collect()
}

/// The rules for one file.
fn check(path: &Path, text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let at = |n: usize, what: String| format!("{}:{}: {what}", path.display(), n + 1);
    if !text.starts_with("//!") {
        errors.push(at(0, "file has no module header".into()));
    }
    if text.lines().count() > FILE_LINES_MAX {
        errors.push(at(0, format!("file exceeds {FILE_LINES_MAX} lines")));
    }
    let stem = path.file_stem().unwrap().to_str().unwrap();
    if ATTICS.contains(&stem) {
        errors.push(at(0, format!("`{stem}` becomes an attic: name the noun")));
    }
    for (n, line) in text.lines().enumerate() {
        errors.extend(check_line(path, line).into_iter().map(|what| at(n, what)));
    }
    if path.starts_with("src") {
        errors.extend(check_module(path, text));
    }
    errors
}

fn check_line(path: &Path, line: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if line.chars().count() > COLUMNS_MAX {
        errors.push(format!("line exceeds {COLUMNS_MAX} columns"));
    }
    if line.contains('\t') {
        errors.push("tab".into());
    }
    if !path.ends_with("tidy.rs") {
        for (word, instead) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
            errors.push(format!("`{word}`: {instead}"));
        }
        // A wish is not a plan: what is left to do says when.
        if line.contains("TODO") && !line.contains("until") {
            errors.push("TODO without its condition (`until ..`)".into());
        }
    }
    errors
}

/// The rules that depend on the floor.
fn check_module(path: &Path, text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let at = |n: usize, what: String| format!("{}:{}: {what}", path.display(), n + 1);
    let top = path.components().nth(1).unwrap();
    let module = Path::new(top.as_os_str()).file_stem().unwrap().to_str().unwrap();
    let depth = path.components().count() - 2 - usize::from(path.ends_with("mod.rs"));
    let root = matches!(module, "lib" | "main");
    let floor = FLOORS.iter().find(|(m, _)| *m == module);
    if !root && floor.is_none() {
        errors.push(at(0, format!("module `{module}` has no floor")));
    }
    let open = |doors: &[&str]| doors.contains(&"*") || doors.contains(&module);
    let closed: Vec<_> =
        DOORS.iter().filter(|(name, doors)| !open(doors) && !own_module(text, name)).collect();
    for (n, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap();
        for (name, doors) in &closed {
            if mentions(code, &format!("{name}::")) {
                errors.push(at(n, format!("`{name}` has its door in {doors:?}")));
            }
        }
        if mentions(code, "unsafe ") && !UNSAFE.iter().any(|p| path == Path::new(p)) {
            errors.push(at(n, "unsafe outside its listed files".into()));
        }
        if module != "control" && is_async(code) {
            errors.push(at(n, "only `control` is async".into()));
        }
        let inline = usize::from(line.starts_with(' '));
        if !root && code.contains(&"super::".repeat(depth + inline + 1)) {
            errors.push(at(n, "`super` leads out of the module: import from `crate`".into()));
        }
        let Some((_, allowed)) = floor else { continue };
        for found in code.split("crate::").skip(1) {
            let target: String =
                found.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if target.is_empty() {
                errors.push(at(n, "one `use` per module: no `crate::{..}`".into()));
            } else if target != module && !allowed.contains(&target.as_str()) {
                errors.push(at(n, format!("`{module}` may not import `{target}`")));
            }
        }
    }
    errors
}

fn is_async(code: &str) -> bool {
    let awaits = code.split(".await").skip(1);
    let mut named =
        awaits.filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
    mentions(code, "async ") || named.next().is_some()
}

/// Whether a module of ours that the file names has the name of an external crate.
fn own_module(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        line.strip_prefix("use crate::")
            .or(line.strip_prefix("use super::"))
            .is_some_and(|path| path == format!("{name};") || path.ends_with(&format!("::{name};")))
            || line.trim_start_matches("pub ") == format!("mod {name};")
    })
}

/// Whether `word` stands in `code` and is not the end of a longer name.
fn mentions(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
            || code[..at].ends_with("::")
                && !code[..at].trim_end_matches(':').ends_with(char::is_alphanumeric)
    })
}

#[track_caller]
fn finds(path: &str, line: &str, want: &str) {
    let got = check(Path::new(path), &format!("//! x\n{line}\n"));
    assert_eq!(got, [format!("{path}:2: {want}")]);
}

#[track_caller]
fn passes(path: &str, line: &str) {
    assert_eq!(check(Path::new(path), &format!("//! x\n{line}\n")), Vec::<String>::new());
}

#[test]
fn reports_an_import_against_the_law() {
    let up = "`io` may not import `worker`";
    finds("src/io/mod.rs", "use crate::worker::Worker;", up);
    finds("src/io/epoll/mod.rs", "let x = crate::worker::x();", up);
    finds("src/feed/mod.rs", "use crate::hub::Hub;", "`feed` may not import `hub`");
    finds("src/io/mod.rs", "use crate::{base, x};", "one `use` per module: no `crate::{..}`");
    passes("src/worker/turn.rs", "use crate::io::Driver;");
    passes("src/io/mod.rs", "// as crate::worker::Worker does");
    let attic = check(Path::new("src/attic/mod.rs"), "//! x\n");
    assert_eq!(attic, ["src/attic/mod.rs:1: module `attic` has no floor"]);
}

#[test]
fn reports_super_out_of_the_module() {
    let out = "`super` leads out of the module: import from `crate`";
    finds("src/io/mod.rs", "use super::worker::Worker;", out);
    finds("src/io/epoll.rs", "use super::super::worker::Worker;", out);
    passes("src/io/epoll.rs", "use super::Driver;");
    passes("src/io/mod.rs", "    use super::Driver;");
    passes("src/io/mod.rs", "    pub(super) fn x() {}");
}

#[test]
fn reports_a_crate_outside_its_door() {
    finds("src/feed/mod.rs", "use libc::c_int;", "`libc` has its door in [\"io\"]");
    finds("src/feed/mod.rs", "let x = ::libc::read();", "`libc` has its door in [\"io\"]");
    finds("src/main.rs", "tokio::spawn(x);", "`tokio` has its door in [\"control\"]");
    passes("src/io/mod.rs", "use libc::c_int;");
    passes("src/feed/mod.rs", "mylibc::x(); crate::feed::libc::x();");
    passes("src/cli/mod.rs", "use crate::config::toml;\nlet x = toml::load();");
}

#[test]
fn reports_async_and_unsafe_outside_their_modules() {
    finds("src/feed/mod.rs", "async fn f() {}", "only `control` is async");
    finds("src/feed/mod.rs", "x.await;", "only `control` is async");
    passes("src/feed/mod.rs", "x.await_all();");
    passes("src/control/mod.rs", "async fn f() {}");
    finds("src/feed/mod.rs", "unsafe { f() }", "unsafe outside its listed files");
    passes("src/feed/mod.rs", "#![forbid(unsafe_code)]");
}

#[test]
fn reports_form() {
    finds("src/feed/mod.rs", &"x".repeat(101), "line exceeds 100 columns");
    passes("src/feed/mod.rs", &"ä".repeat(100));
    finds("src/feed/mod.rs", "\tx", "tab");
    finds("src/feed/mod.rs", "dbg!(x);", "`dbg!(`: remove it");
    finds("tests/x.rs", "// TODO: more", "TODO without its condition (`until ..`)");
    passes("src/feed/mod.rs", "// TODO: splice, until 6.7 is the floor");
    let long = check(Path::new("tests/x.rs"), &"//! x\n".repeat(501));
    assert_eq!(long, ["tests/x.rs:1: file exceeds 500 lines"]);
    let bare = check(Path::new("tests/x.rs"), "fn f() {}\n");
    assert_eq!(bare, ["tests/x.rs:1: file has no module header"]);
    let attic = check(Path::new("src/io/util.rs"), "//! x\n");
    assert_eq!(attic, ["src/io/util.rs:1: `util` becomes an attic: name the noun"]);
}

/// Files under `dir` whose names end with `extension`, sorted.
fn collect(dir: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, extension, out);
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
    out.sort();
}

fn text_of(dir: &str) -> String {
    let mut files = Vec::new();
    collect(Path::new(dir), "rs", &mut files);
    files.iter().map(|p| fs::read_to_string(p).unwrap()).collect()
}
