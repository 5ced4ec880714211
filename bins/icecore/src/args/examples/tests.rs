use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::EXAMPLES;
use crate::args;

/// What a shell makes of a line: words, quotes, and comments.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn parsed(line: &str) -> Result<ArgMatches, clap::Error> {
    args::command().try_get_matches_from(words(line))
}

fn leaves(command: &clap::Command, path: &str, to: &mut Vec<String>) {
    let path = format!("{path} {}", command.get_name());
    // `score` is one of itself, and has another below it.
    if !command.is_subcommand_required_set() {
        to.push(path.trim_start_matches(" icecore").trim_start().to_owned());
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        leaves(inner, &path, to);
    }
}

#[test]
fn every_command_has_an_example_and_every_example_is_one_of_its_command() {
    let mut commands = Vec::new();
    leaves(&args::command(), "", &mut commands);
    let known: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
    for command in &commands {
        assert!(known.contains(&command.as_str()), "`{command}` has no example");
    }
    for (path, lines) in EXAMPLES {
        assert!(commands.iter().any(|command| command == path), "there is no `{path}`");
        assert!(!lines.is_empty(), "`{path}` has no example");
        for line in *lines {
            let matches = parsed(&format!("icecore {line}")).unwrap_or_else(|e| panic!("{e}"));
            let (mut verb, mut next) = (Vec::new(), matches.subcommand());
            while let Some((name, inner)) = next {
                verb.push(name);
                next = inner.subcommand();
            }
            assert_eq!(verb.join(" "), *path, "{line}");
        }
    }
}

#[test]
fn every_argument_says_what_it_is() {
    fn check(command: &clap::Command, missing: &mut Vec<String>) {
        let arguments = command.get_arguments().filter(|it| !it.is_hide_set());
        let silent = arguments.filter(|argument| argument.get_help().is_none());
        missing.extend(silent.map(|it| format!("`{}` of `{}`", it.get_id(), command.get_name())));
        command.get_subcommands().for_each(|inner| check(inner, missing));
    }
    let mut missing = Vec::new();
    check(&args::command(), &mut missing);
    assert!(missing.is_empty(), "no text: {}", missing.join(", "));
}

fn documents(folder: &Path, to: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, to);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            to.push(path);
        }
    }
}

/// The command lines of a document's blocks, each with the lines that its quotes reach over.
fn command_lines(text: &str) -> Vec<String> {
    let (mut lines, mut in_block) = (Vec::<String>::new(), false);
    let mut open = false;
    for line in text.lines() {
        if line.starts_with("```") {
            (in_block, open) = (!in_block, false);
            continue;
        }
        let line = line.trim_start();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        match lines.last_mut() {
            Some(last) if in_block && open => {
                let joined = last.trim_end_matches('\\').trim_end().to_owned();
                *last = format!("{joined} {line}");
            }
            _ if in_block && line.starts_with("icecore ") => lines.push(line.to_owned()),
            _ => continue,
        }
        let last = lines.last().map(String::as_str).unwrap_or_default();
        open = last.ends_with('\\') || last.matches('"').count() % 2 == 1;
    }
    lines
}

// What the documentation tells people to type is understood.
#[test]
fn every_command_of_the_documentation_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    documents(&root.join("docs"), &mut files);
    let mut found = 0;
    for file in files {
        for line in command_lines(&std::fs::read_to_string(&file).unwrap()) {
            let line = line.trim_end_matches('&').trim_end();
            if let Err(error) = parsed(line) {
                panic!("{}: {line}\n{error}", file.display());
            }
            found += 1;
        }
    }
    assert!(found > 100, "{found}");
}
