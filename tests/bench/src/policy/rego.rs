//! The library's policies in Rego, and regorus as the engine over them.
//!
//! In scope: translating what the library uses of Cedar, expression by expression; anything else is
//! an error, so that nothing is compared that was left out. Out of scope: Rego that a person would
//! write; what differs in cost by that is not measured.
//!
//! Each policy becomes one rule that adds its id to the satisfied ones. A disjunction, and a
//! comparison of two truths, become rules of their own, since Rego's bodies are conjunctions.

use anyhow::{Context as _, Result, bail};
use passerelle_policies::{
    Library,
    beside::{Engine, Satisfied},
};
use serde_json::Value;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt::Write as _,
    time::{Duration, Instant},
};

/// Attributes that hold an entity with attributes: compared by name.
const ENTITIES: [&str; 4] = ["agency", "holder", "category", "basis"];
/// The comparisons that both languages write alike.
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// The library in Rego.
///
/// # Errors
/// A policy uses something that is not translated.
pub(super) fn translate(library: &Library) -> Result<String> {
    let mut made = Translation::default();
    for policy in library.policies().policies() {
        let text = policy.to_json().map_err(|e| anyhow::anyhow!("{e}"))?;
        made.policy(policy.id().as_ref(), &text)
            .with_context(|| format!("policy `{}`", policy.id()))?;
    }
    let head = "package passerelle\n\nimport rego.v1\n\n";
    Ok(format!("{head}{}\n{}", made.policies, made.helpers))
}

#[derive(Default)]
struct Translation {
    policies: String,
    helpers: String,
    count: usize,
}

/// What an operator with two operands has.
fn pair(operands: &Value) -> Result<(&Value, &Value)> {
    let left = operands.get("left").context("no left operand")?;
    let right = operands.get("right").context("no right operand")?;
    Ok((left, right))
}

/// The one key of an expression, and what it holds.
fn operator(expression: &Value) -> Result<(&str, &Value)> {
    let object = expression.as_object().context("not an expression")?;
    let (name, operands) = object.iter().next().context("an empty expression")?;
    Ok((name, operands))
}

impl Translation {
    fn policy(&mut self, id: &str, policy: &Value) -> Result<()> {
        let set = match policy.get("effect").and_then(Value::as_str) {
            Some("permit") => "permits",
            Some("forbid") => "forbids",
            _ => bail!("no effect"),
        };
        for scope in ["principal", "resource"] {
            let op = policy.pointer(&format!("/{scope}/op"));
            anyhow::ensure!(op == Some(&"All".into()), "a scope of {scope}");
        }
        let mut body = Vec::new();
        body.extend(action(policy.get("action").context("no action")?)?);
        let conditions = policy.get("conditions").and_then(Value::as_array);
        for condition in conditions.into_iter().flatten() {
            let inner = condition.get("body").context("no body")?;
            match condition.get("kind").and_then(Value::as_str) {
                Some("when") => body.extend(self.lines(inner)?),
                Some("unless") => body.push(self.negated(inner)?),
                _ => bail!("an unknown kind of condition"),
            }
        }
        if body.is_empty() {
            body.push("true".to_owned());
        }
        let body = body.join("\n\t");
        write!(
            self.policies,
            "{set} contains \"{id}\" if {{\n\t{body}\n}}\n\n"
        )?;
        Ok(())
    }

    /// A rule of its own with one body for each alternative; `default` if it must be false rather
    /// than undefined.
    fn helper(&mut self, bodies: &[Vec<String>], default: bool) -> Result<String> {
        self.count += 1;
        let name = format!("h{}", self.count);
        if default {
            writeln!(self.helpers, "default {name} := false")?;
        }
        for body in bodies {
            let body = body.join("\n\t");
            writeln!(self.helpers, "{name} if {{\n\t{body}\n}}")?;
        }
        self.helpers.push('\n');
        Ok(name)
    }

    fn negated(&mut self, expression: &Value) -> Result<String> {
        let lines = self.lines(expression)?;
        match lines.as_slice() {
            [line] if !line.starts_with("not ") => Ok(format!("not {line}")),
            _ => Ok(format!("not {}", self.helper(&[lines], false)?)),
        }
    }

    /// The expression as lines that must all hold.
    fn lines(&mut self, expression: &Value) -> Result<Vec<String>> {
        let (name, operands) = operator(expression)?;
        Ok(match name {
            "&&" => {
                let (left, right) = pair(operands)?;
                let mut lines = self.lines(left)?;
                lines.extend(self.lines(right)?);
                lines
            }
            "||" => {
                let (left, right) = pair(operands)?;
                let bodies = [self.lines(left)?, self.lines(right)?];
                vec![self.helper(&bodies, false)?]
            }
            "!" => {
                let inner = operands.get("arg").context("no operand")?;
                vec![self.negated(inner)?]
            }
            "has" => {
                let of = operands.get("left").context("no left operand")?;
                let attribute = operands.get("attr").and_then(Value::as_str);
                let attribute = attribute.context("no attribute")?;
                vec![format!("{}.{attribute} != null", path(of)?)]
            }
            "contains" => {
                let (set, element) = pair(operands)?;
                vec![format!("{} in {}", self.term(element)?, self.term(set)?)]
            }
            name if COMPARISONS.contains(&name) => {
                let (left, right) = pair(operands)?;
                vec![format!("{} {name} {}", self.term(left)?, self.term(right)?)]
            }
            "." | "Value" => vec![self.term(expression)?],
            other => bail!("`{other}` is not translated"),
        })
    }

    /// The expression as a value.
    fn term(&mut self, expression: &Value) -> Result<String> {
        let (name, operands) = operator(expression)?;
        match name {
            "Value" => literal(operands),
            "Set" => {
                let elements = operands.as_array().context("not a set")?;
                let elements = elements.iter().map(|e| self.term(e));
                Ok(format!(
                    "[{}]",
                    elements.collect::<Result<Vec<_>>>()?.join(", ")
                ))
            }
            "." => {
                let attribute = operands.get("attr").and_then(Value::as_str);
                let path = path(expression)?;
                let of_a_line = path.contains(".line.");
                let is_entity = attribute.is_some_and(|a| ENTITIES.contains(&a)) && !of_a_line;
                Ok(if is_entity {
                    format!("{path}.id")
                } else {
                    path
                })
            }
            _ => {
                let lines = self.lines(expression)?;
                self.helper(&[lines], true)
            }
        }
    }
}

fn action(scope: &Value) -> Result<Option<String>> {
    let named = |entity: &Value| {
        let id = entity.get("id").and_then(Value::as_str);
        id.map(|id| format!("\"{id}\"")).context("no action's id")
    };
    Ok(match scope.get("op").and_then(Value::as_str) {
        Some("All") => None,
        Some("==") => {
            let entity = scope.get("entity").context("no action")?;
            Some(format!("input.action == {}", named(entity)?))
        }
        Some("in") => {
            let entities = scope.get("entities").and_then(Value::as_array);
            let entities = entities.context("no actions")?.iter().map(named);
            let list = entities.collect::<Result<Vec<_>>>()?.join(", ");
            Some(format!("input.action in [{list}]"))
        }
        _ => bail!("an unknown scope of the action"),
    })
}

fn literal(value: &Value) -> Result<String> {
    Ok(match value {
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Object(_) => {
            let id = value.pointer("/__entity/id").and_then(Value::as_str);
            format!("\"{}\"", id.context("not an entity")?)
        }
        Value::Null | Value::Array(_) => bail!("a literal that is not translated"),
    })
}

/// Where an attribute is in the question.
fn path(expression: &Value) -> Result<String> {
    let (name, operands) = operator(expression)?;
    match name {
        "Var" => {
            let variable = operands.as_str().context("no variable")?;
            Ok(format!("input.{variable}"))
        }
        "." => {
            let of = operands.get("left").context("an attribute of nothing")?;
            let attribute = operands.get("attr").and_then(Value::as_str);
            Ok(format!(
                "{}.{}",
                path(of)?,
                attribute.context("no attribute")?
            ))
        }
        other => bail!("an attribute of `{other}`"),
    }
}

/// Regorus over the translated library.
pub(super) struct Rego {
    engine: RefCell<regorus::Engine>,
    spent: Cell<Duration>,
}

impl Rego {
    /// Loads the policies.
    ///
    /// # Errors
    /// regorus refuses the text.
    pub(super) fn load(text: String) -> Result<Self> {
        let mut engine = regorus::Engine::new();
        engine.add_policy("library.rego".to_owned(), text)?;
        Ok(Self {
            engine: RefCell::new(engine),
            spent: Cell::default(),
        })
    }

    /// Time in regorus' own evaluation since this was asked last, without the making of questions.
    pub(super) fn spent(&self) -> Duration {
        self.spent.take()
    }

    fn ask(&self, question: Value) -> Result<Satisfied> {
        let question = regorus::Value::from(question);
        let began = Instant::now();
        let mut engine = self.engine.borrow_mut();
        engine.set_input(question);
        let permits = ids(&engine.eval_rule("data.passerelle.permits".to_owned())?)?;
        let forbids = ids(&engine.eval_rule("data.passerelle.forbids".to_owned())?)?;
        self.spent.set(self.spent.get() + began.elapsed());
        Ok(Satisfied { permits, forbids })
    }
}

fn ids(found: &regorus::Value) -> Result<BTreeSet<String>> {
    let ids = found.as_set()?.iter();
    ids.map(|id| Ok(id.as_string()?.to_string())).collect()
}

impl Engine for Rego {
    fn satisfied(&self, question: Value) -> Result<Satisfied, String> {
        self.ask(question).map_err(|e| format!("{e:#}"))
    }
}
