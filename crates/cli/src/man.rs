//! Manual pages, made from the command tree.

use std::io;
use std::path::{Path, PathBuf};

use clap_mangen::Man;

use crate::args;

/// The page of `taco` itself.
///
/// # Errors
/// If it cannot be written.
pub fn page(into: &mut dyn io::Write) -> io::Result<()> {
    Man::new(tree()).render(into)
}

/// Writes the pages of `taco` and of each of its commands into a directory; returns their names.
///
/// # Errors
/// If one cannot be written.
pub fn pages(directory: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory)?;
    let mut written = Vec::new();
    write(&tree(), "taco", directory, &mut written)?;
    Ok(written)
}

fn write(
    command: &clap::Command,
    name: &str,
    directory: &Path,
    written: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let mut page = Vec::new();
    // Clap wants names that live as long as the program, and this program ends when the pages are written.
    let shown: &'static str = Box::leak(name.to_owned().into_boxed_str());
    Man::new(command.clone().name(shown)).render(&mut page)?;
    let file = directory.join(format!("{name}.1"));
    std::fs::write(&file, page)?;
    written.push(file);
    for below in command.get_subcommands() {
        write(below, &format!("{name}-{}", below.get_name()), directory, written)?;
    }
    Ok(())
}

fn tree() -> clap::Command {
    let mut command = args::command();
    command.build();
    command
}
