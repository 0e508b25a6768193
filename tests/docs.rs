//! Docs that can fail: every declared metric is documented and moved, every decision is listed,
//! every link leads somewhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use tidegate::config::show::markdown;
use tidegate::metrics::declared::COUNTERS;
use tidegate::metrics::render::declared;

const ARCHITECTURE_LINES_MAX: usize = 300;

/// `docs/METRICS.md` has exactly the declared metrics, with type and help as declared.
#[test]
fn metrics_are_documented() {
    let page = fs::read_to_string("docs/METRICS.md").unwrap();
    let want: BTreeSet<String> = declared()
        .into_iter()
        .map(|(name, kind, help)| format!("| `{name}` | {kind} | {help} |"))
        .collect();
    let have: BTreeSet<String> =
        page.lines().filter(|l| l.starts_with("| `tidegate_")).map(str::to_owned).collect();
    let missing: Vec<_> = want.difference(&have).collect();
    let surplus: Vec<_> = have.difference(&want).collect();
    assert!(missing.is_empty(), "add to docs/METRICS.md: {missing:#?}");
    assert!(surplus.is_empty(), "not declared, remove from docs/METRICS.md: {surplus:#?}");
    for (name, texts) in COUNTERS.iter().flat_map(|family| family.labels) {
        for text in *texts {
            assert!(page.contains(&format!("`{text}`")), "METRICS.md lacks {name}={text}");
        }
    }
}

/// `docs/OPERATIONS.md` has the table of keys as the program has it.
#[test]
fn keys_are_documented() {
    let page = fs::read_to_string("docs/OPERATIONS.md").unwrap();
    let missing: Vec<_> =
        markdown().lines().filter(|row| !page.contains(*row)).map(str::to_owned).collect();
    assert!(missing.is_empty(), "paste `tidegate check --keys` into OPERATIONS.md: {missing:#?}");
    let (_, tables) = page.split_once("## All keys").unwrap();
    let rows = markdown();
    let stale: Vec<_> =
        tables.lines().filter(|row| row.starts_with("| ") && !rows.contains(*row)).collect();
    assert!(stale.is_empty(), "no such keys, remove from OPERATIONS.md: {stale:#?}");
    for table in tidegate::config::gateway::TABLES {
        assert!(tables.contains(&format!("### `[[{table}]]`")), "{table}");
    }
}

/// The configurations that pages and examples show are valid, on whatever host the test runs, and
/// leave nothing to warn of.
#[test]
fn configurations_are_valid() {
    let dir = std::env::temp_dir().join(format!("tidegate-docs-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    for key in ["publisher.key", "subscriber.key"] {
        fs::write(dir.join(key), "a key of the test, long enough for anybody").unwrap();
    }
    let mut all = files("examples", "toml");
    let examples = all.len();
    for page in ["README.md", "docs/OPERATIONS.md"] {
        let text = fs::read_to_string(page).unwrap();
        for (n, block) in text.split("```toml\n").skip(1).enumerate() {
            let shown = dir.join(format!("{}-{n}.toml", page.replace('/', "-")));
            let block = block.split("```").next().unwrap();
            fs::write(&shown, block.replace("/etc/tidegate", dir.to_str().unwrap())).unwrap();
            all.push(shown);
        }
    }
    assert!(examples >= 7 && all.len() >= examples + 5, "{all:?}");
    for file in &all {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", "--config"])
            .arg(file)
            .env("PUBLISHER_KEY", "a key of the test, long enough for anybody")
            .env("SUBSCRIBER_KEY", "another key of the test, long enough for anybody")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{}: {errors}", file.display());
    }
    fs::remove_dir_all(dir).unwrap();
}

/// Each variant that can be counted is counted somewhere outside the tables.
#[test]
fn metrics_are_moved() {
    let mut source = String::new();
    for file in files("src", "rs") {
        if !file.starts_with("src/metrics") {
            source.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    let unmoved = unmoved(
        &fs::read_to_string("src/metrics/declared.rs").unwrap(),
        &fs::read_to_string("src/metrics/labels.rs").unwrap(),
        &source,
    );
    assert!(unmoved.is_empty(), "declared but never moved: {unmoved:#?}");
}

#[test]
fn reports_a_metric_that_nothing_moves() {
    let tables = "counters! {\n    A \"tidegate_a_total\"\n    B(R r) \"tidegate_b_total\"\n}";
    let labels = "label! {\n    R \"reason\" {\n        X \"x\",\n        Y \"y\",\n    }\n}";
    let source = "add(Counter::B(R::X), 1)";
    assert_eq!(unmoved(tables, labels, source), ["Counter::A", "R::Y"]);
}

/// Variants of the tables that `source` never names.
fn unmoved(tables: &str, labels: &str, source: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut set = String::new();
    for line in tables.lines() {
        match line.trim() {
            "counters! {" => set = "Counter".into(),
            "gauges! {" => set = "Gauge".into(),
            "histograms! {" => set = "Histogram".into(),
            "}" => set.clear(),
            row if row.contains("\"tidegate_") && !set.is_empty() => {
                let end = row.find(|c: char| !c.is_alphanumeric()).unwrap();
                all.push(format!("{set}::{}", &row[..end]));
            }
            _ => {}
        }
    }
    for line in labels.lines().map(str::trim) {
        if let Some((name, rest)) = line.split_once(" \"") {
            if rest.ends_with("\" {") {
                set = name.into();
            } else if rest.ends_with("\",") && !name.starts_with("//") {
                all.push(format!("{set}::{name}"));
            }
        }
    }
    // `StatusClass::of` makes all classes from a status.
    all.retain(|name| !name.starts_with("StatusClass::"));
    all.retain(|name| !source.contains(name.as_str()));
    all
}

/// `docs/decisions/README.md` lists every page, and every page has its form.
#[test]
fn decisions_are_listed() {
    let list = fs::read_to_string("docs/decisions/README.md").unwrap();
    let pages = files("docs/decisions", "md");
    assert!(pages.len() > 5);
    for page in pages.iter().filter(|p| !p.ends_with("README.md")) {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(list.contains(&format!("({name})")), "not listed: {name}");
        let text = fs::read_to_string(page).unwrap();
        assert!(text.starts_with("# "), "{name}: no title");
        for part in ["## Decision", "## Why", "## The road not taken"] {
            assert!(text.contains(part), "{name} lacks `{part}`");
        }
        assert!(text.lines().count() <= 60, "{name}: one page");
    }
}

#[test]
fn architecture_stays_short() {
    let lines = fs::read_to_string("docs/ARCHITECTURE.md").unwrap().lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "{lines} lines");
}

/// Links between pages lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut pages = files("docs", "md");
    for dir in ["examples", "tuning", "benches"] {
        pages.extend(files(dir, "md"));
    }
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(Into::into));
    let broken: Vec<_> = pages
        .iter()
        .flat_map(|page| broken_links(page, &fs::read_to_string(page).unwrap()))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn reports_a_broken_link() {
    let text = "[a](README.md) [b](https://x.example) [c](#d) [d](docs/none.md#x)";
    assert_eq!(broken_links(Path::new("README.md"), text), ["README.md -> docs/none.md"]);
}

fn broken_links(page: &Path, text: &str) -> Vec<String> {
    let dir = page.parent().unwrap();
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#', ' ']).next())
        .filter(|to| !to.is_empty() && !to.contains("://") && !dir.join(to).exists())
        .map(|to| format!("{} -> {to}", page.display()))
        .collect()
}

fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![PathBuf::from(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}
