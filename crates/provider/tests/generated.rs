//! The pages that are made from the schemas.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use opentaco_provider::pages::pages;

/// Set to have the pages written anew.
const UPDATE: &str = "OPENTACO_UPDATE_DOCS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/provider")
}

fn found(folder: &Path, below: &str, found_there: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => found(&entry.path(), &format!("{name}/"), found_there),
            false => drop(found_there.insert(name)),
        }
    }
}

#[test]
fn the_pages_are_made_from_the_schemas() {
    let folder = folder();
    if std::env::var_os(UPDATE).is_some() {
        let _ = fs::remove_dir_all(&folder);
        for page in pages() {
            let path = folder.join(&page.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, page.text).unwrap();
        }
        return;
    }
    let mut there = BTreeSet::new();
    found(&folder, "", &mut there);
    let expected: BTreeSet<String> = pages().into_iter().map(|page| page.path).collect();
    assert_eq!(there, expected, "run this test once with {UPDATE}=1");
    for page in pages() {
        let text = fs::read_to_string(folder.join(&page.path)).unwrap();
        assert!(
            text == page.text,
            "docs/provider/{} is stale: run this test once with {UPDATE}=1",
            page.path
        );
    }
}

#[test]
fn every_page_shows_what_it_is_about() {
    for page in pages() {
        let name = page.path.rsplit('/').next().unwrap().trim_end_matches(".md");
        let shown = match page.path.split('/').next().unwrap() {
            "resources" => format!("resource \"opentaco_{name}\""),
            "data-sources" => format!("data \"opentaco_{name}\""),
            _ => "provider \"opentaco\"".to_owned(),
        };
        assert!(page.text.contains(&shown), "{} does not show it", page.path);
        let imports = page.text.contains(&format!("terraform import opentaco_{name}."));
        assert_eq!(imports, page.path.starts_with("resources/"), "{}", page.path);
    }
}
