//! The folders of `src/` are bands: an import runs down, never up, and no modules import one
//! another in a circle. The order and what each band may import stand in ARCHITECTURE.md. And files
//! and functions are short.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module path of each file, and the module paths it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `src/layers/share/mod.rs` as `layers::share`.
fn module_of(path: &Path, src: &Path) -> String {
    let parts = path.strip_prefix(src).unwrap().with_extension("");
    let parts: Vec<_> = parts.iter().map(|part| part.to_str().unwrap()).collect();
    let parts = match parts.as_slice() {
        [rest @ .., "mod"] => rest,
        all => all,
    };
    parts.join("::")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path));
        } else if name.ends_with(".rs") && !name.contains("test") && name != "fixture.rs" {
            found.push(path);
        }
    }
    found
}

/// The sources of both programs: the one that builds images, and the one on the device.
fn all_sources() -> Vec<PathBuf> {
    let mut found = files(&root().join("src"));
    found.extend(files(&root().join("westwork/src")));
    found
}

/// The code without comments, and without the tests at its end.
fn code_of(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default()
        .split("#[cfg(test)]\n#[path")
        .next()
        .unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path that follows `crate::`, groups taken apart.
fn paths_in(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        expand(&code[at + "crate::".len()..], "", &mut found);
    }
    found
}

/// Adds the paths at the beginning of `text`, each after `prefix`; returns what follows them.
fn expand<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(rest, prefix, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
            if let Some(end) = rest.strip_prefix('}') {
                return end;
            }
        }
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let path = match (prefix, word) {
        (_, "self" | "") => prefix.to_owned(),
        ("", word) => word.to_owned(),
        (prefix, word) => format!("{prefix}::{word}"),
    };
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

/// The module that `path` names, or is in.
fn known<'a>(path: &'a str, modules: &BTreeSet<String>) -> Option<&'a str> {
    let mut path = path;
    loop {
        if modules.contains(path) {
            return Some(path);
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// What every module below `src` imports, by `crate::`, `super::` and the names of its children.
fn imports_of(src: &Path) -> Imports {
    let files = files(src);
    let modules: BTreeSet<String> = files.iter().map(|path| module_of(path, src)).collect();
    let mut imports = Imports::new();
    for path in &files {
        let own = module_of(path, src);
        let mut code = code_of(&fs::read_to_string(path).unwrap());
        // `super::super::x` and `super::x` by their absolute names.
        let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
        let grand = parent.rsplit_once("::").map_or("", |(parent, _)| parent);
        let absolute = |parent: &str| match parent {
            "" => "crate::".to_owned(),
            parent => format!("crate::{parent}::"),
        };
        code = code.replace("super::super::", &absolute(grand));
        code = code.replace("super::", &absolute(parent));
        let found = paths_in(&code)
            .iter()
            .filter_map(|path| known(path, &modules))
            .filter(|module| *module != own)
            .map(str::to_owned)
            .collect();
        imports.insert(own, found);
    }
    imports
}

/// The table of ARCHITECTURE.md: each band, from the ground up, and what it may import.
fn bands() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text
        .split("| folder | may import | what it is |\n")
        .nth(1)
        .expect("ARCHITECTURE.md has the table of folders");
    let names = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words
            .map(|word| word.trim_end_matches('/').to_owned())
            .collect()
    };
    let mut bands: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
    {
        let cells: Vec<&str> = line.split('|').collect();
        let band = names(cells[1]).remove(0);
        let may = match cells[2].trim() {
            "all below" => bands.iter().map(|(name, _)| name.clone()).collect(),
            _ => names(cells[2]).into_iter().collect(),
        };
        bands.push((band, may));
    }
    bands
}

/// Arrows that the table does not allow.
fn upward(imports: &Imports, bands: &[(String, BTreeSet<String>)]) -> Vec<String> {
    let top = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut wrong = Vec::new();
    for (module, found) in imports {
        let band = top(module);
        let Some((_, may)) = bands.iter().find(|(name, _)| *name == band) else {
            if !["lib", "main"].contains(&band.as_str()) {
                wrong.push(format!("{module}: ARCHITECTURE.md has no folder {band}"));
            }
            continue;
        };
        for import in found {
            let to = top(import);
            if to != band && !may.contains(&to) {
                wrong.push(format!("{module} imports {import}"));
            }
        }
    }
    wrong
}

/// Circles among the modules of one folder, at every depth. A folder's own face (`mod.rs`) names
/// what is in it, and is named by it.
fn circles(imports: &Imports) -> Vec<String> {
    let mut folders: BTreeSet<String> = BTreeSet::from([String::new()]);
    for module in imports.keys() {
        let mut path = module.as_str();
        while let Some((parent, _)) = path.rsplit_once("::") {
            folders.insert(parent.to_owned());
            path = parent;
        }
    }
    let mut found = Vec::new();
    for folder in &folders {
        let child = |module: &str| -> Option<String> {
            let rest = match folder.as_str() {
                "" => module,
                folder => module.strip_prefix(folder)?.strip_prefix("::")?,
            };
            Some(rest.split("::").next()?.to_owned())
        };
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, to) in imports {
            if let Some(from) = child(module) {
                let to = to.iter().filter_map(|module| child(module));
                let to = to.filter(|to| *to != from);
                arrows.entry(from.clone()).or_default().extend(to);
            }
        }
        let reach = |start: &String| -> BTreeSet<String> {
            let mut seen = BTreeSet::new();
            let mut todo: Vec<&String> = arrows[start].iter().collect();
            while let Some(next) = todo.pop() {
                if seen.insert(next.clone()) {
                    todo.extend(arrows.get(next).into_iter().flatten());
                }
            }
            seen
        };
        let circle: Vec<&String> = arrows
            .keys()
            .filter(|name| reach(name).contains(*name))
            .collect();
        if !circle.is_empty() {
            found.push(format!("in {folder}/: {circle:?}"));
        }
    }
    found
}

#[test]
fn imports_run_down_and_in_no_circle() {
    let imports = imports_of(&root().join("src"));
    assert!(imports.len() > 80, "{} modules were found", imports.len());
    let arrows: usize = imports.values().map(BTreeSet::len).sum();
    assert!(arrows > 200, "{arrows} imports were found");
    let bands = bands();
    for (band, _) in &bands {
        let exists = root().join("src").join(band).exists()
            || root().join("src").join(format!("{band}.rs")).exists();
        assert!(exists, "ARCHITECTURE.md names {band}, which is not there");
    }
    let mut wrong = upward(&imports, &bands);
    wrong.extend(circles(&imports));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_arrow_that_runs_up_and_a_circle_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("base/mod.rs", "pub mod a;\npub mod b;\n");
    write(
        "base/a.rs",
        "use super::b::B;\nuse crate::{config::{self, X}};\n",
    );
    write(
        "base/b.rs",
        "// use crate::export::E;\nfn f() { crate::base::a::g() }\n",
    );
    write(
        "config/mod.rs",
        "use crate::base::a;\n#[cfg(test)]\nmod tests { use crate::export::E; }\n",
    );
    let imports = imports_of(dir.path());
    let bands = [
        ("base".to_owned(), BTreeSet::new()),
        ("config".to_owned(), BTreeSet::from(["base".to_owned()])),
    ];
    assert_eq!(upward(&imports, &bands), ["base::a imports config"]);
    assert_eq!(
        circles(&imports),
        [r#"in /: ["base", "config"]"#, r#"in base/: ["a", "b"]"#,]
    );
}

/// One idea a file.
#[test]
fn files_are_short() {
    let long: Vec<String> = all_sources()
        .iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(path).unwrap().lines().count();
            (lines > 400).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Name and length of each function in `code`, which rustfmt has formatted: a function that begins
/// after some spaces ends with a brace after as many.
fn lengths(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (begin, line) in lines.iter().enumerate() {
        let bare = line.trim_start();
        let before = bare.split("fn ").next().unwrap_or_default();
        let is_plain = |word: &str| {
            ["pub", "const", "async", "unsafe", "extern", "\"C\""].contains(&word)
                || word.starts_with("pub(")
        };
        if before == bare || !before.split_whitespace().all(is_plain) || line.ends_with(['}', ';'])
        {
            continue;
        }
        let indent = &line[..line.len() - bare.len()];
        let end = format!("{indent}}}");
        // One that only a trait declares ends with its parameters.
        let declared = format!("{indent})");
        let rest = lines[begin..].iter();
        let length = rest
            .take_while(|line| {
                **line != end && !(line.starts_with(&declared) && line.ends_with(';'))
            })
            .count();
        let name = bare[before.len() + "fn ".len()..].split(['(', '<']).next();
        found.push((name.unwrap_or_default().to_owned(), length + 1));
    }
    found
}

/// What a function does is seen at once.
#[test]
fn functions_fit_a_screen() {
    let (mut all, mut long) = (0, Vec::new());
    for path in all_sources() {
        for (name, lines) in lengths(&code_of(&fs::read_to_string(&path).unwrap())) {
            all += 1;
            // A table: one row for each program.
            let is_table = path.ends_with("base/tool.rs") && name == "row";
            if lines > 60 && !is_table {
                long.push(format!("{}: {name}: {lines} lines", path.display()));
            }
        }
    }
    assert!(all > 1200, "{all} functions were found");
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn functions_are_measured_from_their_name_to_their_end() {
    let code = "fn short() {}\n\npub(super) fn one(\n    a: u8,\n) -> u8 {\n    if a {\n    }\n}\n\ntrait T {\n    fn told(\n        a: u8,\n    ) -> u8;\n    fn said();\n    unsafe extern \"C\" fn two<A>() {\n        1\n    }\n}\n";
    let expected = [("one", 6), ("told", 3), ("two", 3)];
    assert_eq!(
        lengths(code),
        expected.map(|(name, n)| (name.to_owned(), n))
    );
}
