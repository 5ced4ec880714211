//! What a document in Markdown tells to type, and shows of files.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Value;

/// A document.
pub(super) struct Document {
    /// Its path, for messages.
    pub(super) name: String,
    /// All of it.
    pub(super) text: String,
    /// The commands, by block.
    pub(super) commands: Vec<Vec<String>>,
    /// What it shows of files that it names.
    pub(super) files: Vec<Shown>,
    /// The pages that its last section lists.
    pub(super) pages: Vec<PathBuf>,
}

/// A part of a file.
pub(super) struct Shown {
    pub(super) file: String,
    pub(super) text: String,
}

impl Document {
    #[track_caller]
    pub(super) fn read(path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (mut commands, mut files) = (Vec::new(), Vec::new());
        for (language, block) in blocks(&text) {
            match language.as_str() {
                "" | "sh" | "console" => commands.push(command_lines(&block)),
                "toml" | "sql" => files.extend(shown(&block)),
                _ => {}
            }
        }
        let folder = path.parent().unwrap();
        let listed = text.split_once("\n## The pages\n").map(|(_, list)| list).unwrap_or_default();
        let links = listed.lines().filter_map(|line| {
            let (_, link) = line.strip_prefix("- ")?.split_once("](")?;
            Some(folder.join(link.trim_end_matches(')')))
        });
        let pages = links.collect();
        Self { name: path.display().to_string(), commands, files, pages, text }
    }
}

/// The blocks of code, each with its language.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), is_open) {
            (Some(language), false) => {
                found.push((language.to_owned(), String::new()));
                is_open = true;
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                let block = &mut found.last_mut().unwrap().1;
                block.push_str(line);
                block.push('\n');
            }
            (None, false) => {}
        }
    }
    found
}

/// The commands of a block; other lines are what they print, or comments.
fn command_lines(block: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block.lines() {
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if goes_on {
            let last = found.last_mut().unwrap();
            last.push('\n');
            last.push_str(line);
        } else if ["icecore ", "curl ", "echo "].iter().any(|it| line.starts_with(it)) {
            found.push(line.to_owned());
        } else {
            continue;
        }
        let last = found.last().unwrap();
        goes_on = last.ends_with('\\') || split(last).1;
    }
    found
}

/// The words of a line, as a shell takes them apart.
pub(super) fn words(line: &str) -> Vec<String> {
    split(line).0
}

/// The words, and whether a quote is left open.
fn split(line: &str) -> (Vec<String>, bool) {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = line.chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (words, quote.is_some())
}

/// What a block shows of the file that its first line names.
fn shown(block: &str) -> Option<Shown> {
    let (first, text) = block.split_once('\n')?;
    let name = first.strip_prefix("# ").or_else(|| first.strip_prefix("-- "))?;
    let name = name.split(':').next()?.trim();
    let is_file = name.ends_with(".toml") || name.ends_with(".sql");
    (is_file && !name.contains(' ')).then(|| Shown { file: name.to_owned(), text: text.to_owned() })
}

/// Whether everything that one value says is said by the other, too. A table is a part of a list of
/// tables where it is one of one of them.
pub(super) fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Table(part), Value::Table(whole)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|whole| is_part(value, whole))),
        (Value::Table(_), Value::Array(whole)) => whole.iter().any(|whole| is_part(part, whole)),
        (Value::Array(parts), Value::Array(all)) if parts.iter().all(Value::is_table) => {
            parts.iter().all(|part| all.iter().any(|whole| is_part(part, whole)))
        }
        (part, whole) => part == whole,
    }
}
