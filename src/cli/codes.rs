//! Arguments that have a form of their own: items, levels, stages, people.

use super::failure::Failure;
use passerelle_agent::person::Person;
use passerelle_model::{
    statement::Item,
    vocabulary::{Category, Level, Stage, WorkerRole},
};
use passerelle_proto::v1;
use std::path::Path;

/// `CATEGORY:LEVEL`, the level as a code or 0 to 4.
pub(crate) fn item(text: &str) -> Result<Item, String> {
    let (category, level_text) = text
        .split_once(':')
        .ok_or("expected CATEGORY:LEVEL, such as `in_service:known`")?;
    Ok(Item {
        category: category.parse::<Category>().map_err(|e| e.to_string())?,
        level: level(level_text)?,
    })
}

/// A level as a code or 0 to 4.
pub(crate) fn level(text: &str) -> Result<Level, String> {
    Level::ALL
        .iter()
        .copied()
        .find(|level| level.code() == text || level.rank().to_string() == text)
        .ok_or_else(|| {
            let known: Vec<_> = Level::ALL
                .iter()
                .map(|level| format!("{} {}", level.rank(), level.code()))
                .collect();
            format!("unknown answer level; known are: {}", known.join(", "))
        })
}

/// A stage as a code or 1 to 4.
pub(crate) fn stage(text: &str) -> Result<Stage, String> {
    Stage::ALL
        .iter()
        .copied()
        .find(|stage| stage.code() == text || stage.number().to_string() == text)
        .ok_or_else(|| "unknown stage; known are: 1, 2, 3, 4".to_owned())
}

/// `ID:ROLE` of a worker.
pub(crate) fn worker(text: &str) -> Result<(String, WorkerRole), String> {
    let (id, role) = text
        .rsplit_once(':')
        .filter(|(id, _)| !id.is_empty())
        .ok_or("expected ID:ROLE, such as `officer-12:officer`")?;
    let role = role.parse::<WorkerRole>().map_err(|e| e.to_string())?;
    Ok((id.to_owned(), role))
}

/// Reads a person's identity attributes from a file, as the agent defines it.
pub(crate) fn person(path: &Path) -> Result<v1::Person, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
    let person = Person::from_file_text(&text)
        .map_err(|e| Failure::usage(format!("`{}`: {e}", path.display())))?;
    Ok(v1::Person {
        family_name: person.family_name().to_owned(),
        given_name: person.given_name().to_owned(),
        birth_date: person.birth_date().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_codes_or_ranks_and_nothing_else() {
        for known in Level::ALL {
            assert_eq!(level(known.code()), Ok(*known));
            assert_eq!(level(&known.rank().to_string()), Ok(*known));
        }
        for bad in ["", "5", "-1", "00", "Known", "detail ", "１"] {
            assert!(level(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_item_needs_a_known_category_and_level() {
        assert_eq!(
            item("in_service:2"),
            Ok(Item {
                category: Category::InService,
                level: Level::Involvement
            })
        );
        assert_eq!(item("diagnosis:detail").unwrap().level, Level::Detail);
        for bad in [
            "",
            "in_service",
            "in_service:",
            ":known",
            "x:known",
            "in_service:known:1",
        ] {
            assert!(item(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stages_are_codes_or_numbers() {
        for known in Stage::ALL {
            assert_eq!(stage(known.code()), Ok(*known));
            assert_eq!(stage(&known.number().to_string()), Ok(*known));
        }
        assert!(stage("0").is_err() && stage("5").is_err());
    }

    #[test]
    fn a_worker_has_an_id_and_a_known_role() {
        assert_eq!(
            worker("officer-12:officer"),
            Ok(("officer-12".to_owned(), WorkerRole::Officer))
        );
        for bad in ["", "officer", ":officer", "x:", "x:king"] {
            assert!(worker(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_person_file_is_read_and_its_errors_repeat_no_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("person.toml");
        let good = "family_name = \"Côté\"\ngiven_name = \"Ève\"\nbirth_date = \"1990-04-05\"\n";
        std::fs::write(&path, good).unwrap();
        let read = person(&path).unwrap();
        assert_eq!(
            (read.family_name.as_str(), read.birth_date.as_str()),
            ("Côté", "1990-04-05")
        );
        for bad in [
            "family_name = Secretname\n".to_owned(),
            good.replace("family_name", "familyname"),
            format!("{good}note = \"Secretname\"\n"),
            String::new(),
        ] {
            std::fs::write(&path, &bad).unwrap();
            let failure = person(&path).unwrap_err();
            assert_eq!(failure.exit, crate::cli::failure::Exit::Usage);
            let message = failure.message;
            assert!(
                !message.contains("Secretname") && !message.contains("Côté"),
                "{message}"
            );
        }
    }
}
