//! The command line's form.

use super::{Cli, Global, Lang};
use clap::{CommandFactory as _, Parser as _};
use passerelle_audit::{
    keys::SigningKey,
    note::{SignatureType, VerifierKey},
};

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

/// Splits as a shell would, as far as our examples go: single quotes, `<` ends the command.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            '<' if !quoted => break,
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    assert!(!quoted, "{line}");
    words
}

fn examples_of(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
    let help = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default()
        .replace("\\\n", " ");
    let own: Vec<_> = help
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("passerelle "))
        .collect();
    assert!(
        !own.is_empty() || command.has_subcommands(),
        "`{path}` has no example"
    );
    found.extend(own.iter().map(|line| (path.to_owned(), (*line).to_owned())));
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        examples_of(sub, &format!("{path} {}", sub.get_name()), found);
    }
}

#[test]
fn every_command_has_examples_and_every_example_parses() {
    let mut found = Vec::new();
    examples_of(&Cli::command(), "passerelle", &mut found);
    assert!(found.len() > 40, "{}", found.len());
    let key = SigningKey::from_seed(&[1; 32]).public_key();
    let key = VerifierKey::new("example.org/log", SignatureType::Ed25519, key).unwrap();
    for (path, line) in found {
        // Where the example says KEY, the key of a log is to be put.
        let line = line.replace("'KEY'", &key.to_string());
        if let Err(error) = Cli::try_parse_from(words(&line)) {
            panic!("example of `{path}`: `{line}`: {error}");
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_as_usage() {
    let request = "passerelle agent request --dir d --person p.toml --holder sante-centre \
                   --item in_service:known --purpose plan --basis consent";
    assert!(Cli::try_parse_from(words(request)).is_ok());
    for bad in [
        request.replace("in_service:known", "in_service"),
        request.replace("in_service:known", "in_service:9"),
        request.replace("in_service:known", "religion:known"),
        request.replace("plan", "curiosity"),
        request.replace("--basis consent", "--basis because"),
        request.replace("sante-centre", "Santé"),
        request.replace("--person p.toml", ""),
        request.replace("--item in_service:known", ""),
        format!("{request} --emergency fear"),
        format!("{request} --consent consent-1"),
        format!("{request} --wait soon"),
        "passerelle".to_owned(),
        "passerelle agent".to_owned(),
        "passerelle agent show --dir d marie".to_owned(),
        "passerelle broker serve --dir d --listen nowhere".to_owned(),
        "passerelle broker invite --dir d police-nord --sector spies".to_owned(),
        "passerelle broker init --dir d --federation Estrie".to_owned(),
    ] {
        let error = Cli::try_parse_from(words(&bad)).expect_err(&bad);
        let help = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        assert!(error.exit_code() == 2 || error.kind() == help, "{bad}");
    }
}

#[test]
fn global_options_may_follow_the_command() {
    let cli = Cli::try_parse_from(words("passerelle agent status --dir d --json --lang fr"));
    let Global { json, .. } = cli.as_ref().unwrap().global;
    assert!(json);
    assert_eq!(cli.unwrap().global.lang(), Lang::Fr);
}

#[test]
fn the_language_follows_the_locale_and_falls_back_to_english() {
    for (locale, lang) in [
        ("fr_CA.UTF-8", Lang::Fr),
        ("fr", Lang::Fr),
        ("fr.UTF-8", Lang::Fr),
        ("C.UTF-8", Lang::En),
        ("en_CA", Lang::En),
        ("frr_DE", Lang::En),
        ("iu_CA", Lang::En),
    ] {
        assert_eq!(Lang::of_locale(locale), lang, "{locale}");
    }
}
