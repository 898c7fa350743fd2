//! Everything that one run found, and the table of it: ratios, with the targets beside them.

use crate::{
    exchange, floor, growth,
    primitives::{Cost, Primitives},
    profile::Profile,
    relay,
};
use serde::Serialize;
use std::fmt::Write as _;

/// Everything that one run found.
#[derive(Default, Serialize)]
pub(crate) struct Results {
    /// Processors of the machine.
    pub(crate) processors: usize,
    /// Processes that wanted one of them in the minute before the run.
    pub(crate) load_before: f64,
    /// Whether it was the short run.
    pub(crate) quick: bool,
    /// The ceiling.
    pub(crate) relay: Vec<relay::Point>,
    /// The product.
    pub(crate) exchange: Vec<exchange::Point>,
    /// What the parts cost alone.
    pub(crate) primitives: Option<Primitives>,
    /// What an exchange needs of them.
    pub(crate) needs: Vec<floor::Need>,
    /// Where the time goes; without `perf` nothing.
    pub(crate) profile: Option<Profile>,
    /// What growth does.
    pub(crate) growth: Vec<growth::Series>,
}

/// One target with what was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    what: &'static str,
    wanted: String,
    found: String,
    met: Option<bool>,
}

/// Share of the processors that others may have before it is said. The kernel's own work for the
/// disk is among others.
const QUIET: f64 = 0.15;

/// One figure of a series that grows.
type Ratio = fn(&growth::Series) -> Option<f64>;

/// A table whose columns are as wide as they need to be; the first is flush left.
struct Table(Vec<Vec<String>>);

impl Table {
    fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|&h| h.to_owned()).collect()])
    }

    fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    fn write(&self, out: &mut String) {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for (number, row) in self.0.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(line, "  {cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            let _ = writeln!(out, "{}", line.trim_end());
            if number == 0 {
                let rule: usize = widths.iter().map(|w| w + 2).sum();
                let _ = writeln!(out, "  {}", "-".repeat(rule.saturating_sub(2)));
            }
        }
        out.push('\n');
    }
}

/// Three figures that count, whatever the size.
fn n(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.4}"),
    }
}

fn mib(kib: u64) -> String {
    n(kib as f64 / 1024.0)
}

impl Results {
    fn relay_at(&self, in_flight: usize) -> Option<&relay::Point> {
        self.relay.iter().find(|p| p.in_flight == in_flight)
    }

    fn exchange_at(&self, in_flight: usize) -> Option<&exchange::Point> {
        self.exchange.iter().find(|p| p.in_flight == in_flight)
    }

    /// Milliseconds on the clock of a durable write that nobody shares.
    fn durable_ms(&self) -> Option<f64> {
        Some(self.primitives.as_ref()?.disk.append_alone.clock_us / 1e3)
    }

    /// The answer is durable one write after it is in the file (see `tail`).
    fn alone_ms(&self) -> Option<f64> {
        Some(self.exchange_at(1)?.answer_ms.p50 + self.durable_ms().unwrap_or_default())
    }

    /// The share of the floor in what was measured, at this load.
    fn share_of_floor(&self, in_flight: usize) -> Option<f64> {
        let measured = self.exchange_at(in_flight)?.product_cpu_ms();
        (!self.needs.is_empty()).then(|| floor::sum_ms(&self.needs) / measured)
    }

    /// The targets of the plan, each with what was found.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let mut all = Vec::new();
        let mut target = |what, wanted: String, found: Option<(String, bool)>| {
            let (found, met) = match found {
                Some((found, met)) => (found, Some(met)),
                None => ("not measured in this run".to_owned(), None),
            };
            all.push(Target {
                what,
                wanted,
                found,
                met,
            });
        };
        let found = self
            .exchange_at(64)
            .map(|p| (n(p.per_second), p.per_second >= 1_000.0));
        target(
            "exchanges a second, 64 in flight",
            "1,000 or more".into(),
            found,
        );
        let found = self.share_of_floor(64);
        let found = found.map(|s| (format!("{} %", n(s * 100.0)), s >= 0.6));
        target(
            "share of what the primitives allow",
            "60 % or more".into(),
            found,
        );
        let limit = self.relay_at(1).zip(self.durable_ms());
        let limit = limit.map(|(r, d)| 10.0 * (r.answer_ms.p50 + 3.0 * d));
        let found = self.alone_ms().zip(limit);
        let found = found.map(|(ms, limit)| (format!("{} ms", n(ms)), ms < limit));
        let wanted = limit.map_or("10 x (relay + 3 durable writes)".to_owned(), |limit| {
            format!("under {} ms", n(limit))
        });
        target("p50 of one exchange alone", wanted, found);
        self.growth_targets(&mut target);
        all
    }

    fn growth_targets(
        &self,
        target: &mut impl FnMut(&'static str, String, Option<(String, bool)>),
    ) {
        let whole = self.growth.iter().all(|s| s.failed.is_empty());
        for (what, of) in [
            (
                "time of one alone, largest over smallest",
                growth::Series::time_ratio as Ratio,
            ),
            (
                "processor of one, largest over smallest",
                growth::Series::cpu_ratio as Ratio,
            ),
        ] {
            let most = self.growth.iter().filter_map(of).reduce(f64::max);
            let found = most.map(|r| (format!("{} x", n(r)), r < 1.3 && whole));
            target(what, "under 1.3 x".into(), found);
        }
        let points = || self.growth.iter().flat_map(|s| &s.points);
        let peak = points().map(|p| p.broker.peak_kib).max();
        let found = peak.map(|kib| (format!("{} MiB", mib(kib)), kib < 200 * 1024));
        target("broker's memory, peak", "under 200 MiB".into(), found);
        let entries = self.growth.iter().find(|s| s.what == growth::ENTRIES);
        let flat = entries.and_then(growth::Series::memory_ratio);
        let found = flat.map(|r| (format!("{} x", n(r)), r < 1.3));
        target(
            "the same, most over least entries",
            "flat (under 1.3 x)".into(),
            found,
        );
        let largest = entries.and_then(|s| s.points.iter().max_by_key(|p| p.size));
        let largest = largest.filter(|p| p.size >= 1_000_000);
        let found = largest.map(|p| (format!("{} s", n(p.start_s)), p.start_s < 5.0));
        target("start-up with 1,000,000 entries", "under 5 s".into(), found);
    }

    /// The whole as text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let kind = if self.quick { "short run" } else { "whole run" };
        let _ = writeln!(
            out,
            "Passerelle, benchmark ({kind}): {} processors, load before {}. All processes on one \
             machine,\nloopback, durable writes on a disk. answer_delay_ms = 0 (the delay is \
             policy, not cost), no\nreviews, no rate limits in the way.\n",
            self.processors,
            n(self.load_before)
        );
        self.quiet_text(&mut out);
        self.targets_text(&mut out);
        self.loads_text(&mut out);
        self.processes_text(&mut out);
        self.needs_text(&mut out);
        self.parts_text(&mut out);
        self.growth_text(&mut out);
        out
    }

    /// Says when others had a part of the processors that makes times on the clock worthless.
    fn quiet_text(&self, out: &mut String) {
        let growth = self.growth.iter().flat_map(|s| &s.points);
        let others = self.exchange.iter().map(|p| p.others);
        let most = others.chain(growth.map(|p| p.others)).fold(0.0, f64::max);
        if most > QUIET {
            let _ = writeln!(
                out,
                "NOT A QUIET MACHINE: others had up to {} % of the processors. Rates and times \
                 here say little;\nprocessor time and counts say more. Run it again when nothing \
                 else runs.\n",
                n(most * 100.0)
            );
        }
    }

    fn targets_text(&self, out: &mut String) {
        let mut table = Table::new(&["Target", "wanted", "found", ""]);
        for t in self.targets() {
            let met = match t.met {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "-",
            };
            table.row(vec![t.what.into(), t.wanted, t.found, met.into()]);
        }
        table.write(out);
    }

    fn loads_text(&self, out: &mut String) {
        if self.relay.is_empty() && self.exchange.is_empty() {
            return;
        }
        let mut table = Table::new(&[
            "Load",
            "in flight",
            "a second",
            "p50 ms",
            "p99 ms",
            "CPU ms each",
            "of the relay",
        ]);
        for p in &self.relay {
            table.row(vec![
                "relay, no checks, no log".into(),
                p.in_flight.to_string(),
                n(p.per_second),
                n(p.answer_ms.p50),
                n(p.answer_ms.p99),
                n(p.cpu_ms),
                "1".into(),
            ]);
        }
        for p in &self.exchange {
            let ratio = self
                .relay_at(p.in_flight)
                .map(|r| p.per_second / r.per_second);
            table.row(vec![
                "governed exchange".into(),
                p.in_flight.to_string(),
                n(p.per_second),
                n(p.answer_ms.p50),
                n(p.answer_ms.p99),
                n(p.product_cpu_ms()),
                ratio.map_or("-".into(), n),
            ]);
        }
        table.write(out);
    }

    fn processes_text(&self, out: &mut String) {
        let Some(first) = self.exchange.first() else {
            return;
        };
        let mut table = Table::new(&[
            "One exchange, by process",
            "in flight",
            "CPU ms",
            "durable writes",
            "records",
            "journal KiB",
        ]);
        for p in &self.exchange {
            for name in first.records.keys() {
                let of = |map: &std::collections::BTreeMap<String, f64>| {
                    map.get(name).copied().unwrap_or_default()
                };
                table.row(vec![
                    name.clone(),
                    p.in_flight.to_string(),
                    n(of(&p.cpu_ms)),
                    n(of(&p.durable_writes)),
                    n(of(&p.records)),
                    n(of(&p.journal_bytes) / 1024.0),
                ]);
            }
        }
        table.write(out);
    }

    fn needs_text(&self, out: &mut String) {
        if self.needs.is_empty() {
            return;
        }
        let mut table = Table::new(&[
            "What an exchange needs",
            "part",
            "count",
            "CPU us",
            "CPU ms",
        ]);
        for need in &self.needs {
            table.row(vec![
                need.what.into(),
                need.part.into(),
                n(need.count),
                n(need.unit.cpu_us),
                n(need.cpu_ms()),
            ]);
        }
        let sum = floor::sum_ms(&self.needs);
        table.row(vec![
            "sum: the floor".into(),
            String::new(),
            String::new(),
            String::new(),
            n(sum),
        ]);
        table.write(out);
    }

    fn parts_text(&self, out: &mut String) {
        let Some(point) = self.exchange_at(64).filter(|_| !self.needs.is_empty()) else {
            return;
        };
        let total = point.product_cpu_ms();
        let mut table = Table::new(&["Part, at 64 in flight", "floor ms", "measured ms", "share"]);
        let floor_of = |part: &str| -> f64 {
            let of = self.needs.iter().filter(|need| need.part == part);
            of.map(floor::Need::cpu_ms).sum()
        };
        let Some(profile) = &self.profile else {
            let _ = writeln!(
                out,
                "Without perf the measured {} ms an exchange can't be told apart by part; the \
                 floor is {} ms.\n",
                n(total),
                n(floor::sum_ms(&self.needs))
            );
            return;
        };
        let mut parts: Vec<_> = profile.parts.iter().collect();
        parts.sort_by(|a, b| b.1.total_cmp(a.1));
        for (part, share) in parts {
            table.row(vec![
                (*part).into(),
                n(floor_of(part)),
                n(total * share),
                format!("{} %", n(share * 100.0)),
            ]);
        }
        let sum = floor::sum_ms(&self.needs);
        table.row(vec!["all".into(), n(sum), n(total), "100 %".into()]);
        table.write(out);
        let _ = writeln!(
            out,
            "  Samples count for the innermost function: what a part allocates is under memory, \
             its waiting\n  under scheduling, and the curve arithmetic of sealing under \
             signatures. Only the sums compare.\n"
        );
    }

    fn growth_text(&self, out: &mut String) {
        let mut table = Table::new(&[
            "Growth",
            "size",
            "entries",
            "p50 ms",
            "CPU ms each",
            "start s",
            "broker MiB",
            "peak",
            "on disk MiB",
        ]);
        for series in &self.growth {
            for p in &series.points {
                table.row(vec![
                    series.what.into(),
                    p.size.to_string(),
                    p.entries.to_string(),
                    n(p.p50_ms),
                    n(p.cpu_ms),
                    n(p.start_s),
                    mib(p.broker.resident_kib),
                    mib(p.broker.peak_kib),
                    n(p.disk_bytes as f64 / 1048576.0),
                ]);
            }
        }
        if !self.growth.is_empty() {
            table.write(out);
        }
        for series in &self.growth {
            for (size, why) in &series.failed {
                let _ = writeln!(out, "  {size} {}: not measured: {why}", series.what);
            }
        }
    }

    /// The whole as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        let mut value = serde_json::to_value(self)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("targets".into(), serde_json::to_value(self.targets())?);
            let sum = floor::sum_ms(&self.needs);
            object.insert("floor_ms".into(), serde_json::to_value(sum)?);
        }
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }
}

/// The cost of one message: a relayed round trip has four.
pub(crate) fn message_cost(point: &relay::Point) -> Cost {
    Cost {
        cpu_us: point.cpu_ms * 1e3 / 4.0,
        clock_us: point.answer_ms.p50 * 1e3 / 4.0,
    }
}
