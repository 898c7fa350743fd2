//! The plot: four panels, each with its target.

use crate::{
    floor,
    growth::{self, Series},
    report::Results,
    svg::{Anchor, BLUE, Frame, GREEN, Scale, Svg, short},
};

const WIDTH: f64 = 1_080.0;
const HEIGHT: f64 = 820.0;

fn frame(column: usize, row: usize) -> Frame {
    Frame {
        x: 75.0 + 530.0 * column as f64,
        y: 135.0 + 375.0 * row as f64,
        width: 430.0,
        height: 235.0,
    }
}

fn title(svg: &mut Svg, frame: &Frame, text: &str, more: &str) {
    svg.heading((frame.x - 40.0, frame.y - 50.0), 15.0, text);
    svg.note((frame.x - 40.0, frame.y - 32.0), Anchor::Start, more);
}

/// Draws what was found.
pub(crate) fn draw(results: &Results) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    svg.heading(
        (35.0, 40.0),
        20.0,
        "Passerelle: what a governed exchange costs",
    );
    let kind = if results.quick {
        "Short run"
    } else {
        "Whole run"
    };
    let more = format!(
        "{kind}, {} processors, broker and four agents on one machine, every journal durable on \
         disk, answer delay 0",
        results.processors
    );
    svg.note((35.0, 60.0), Anchor::Start, &more);
    throughput(&mut svg, results, &frame(0, 0));
    parts(&mut svg, results, &frame(1, 0));
    time(&mut svg, results, &frame(0, 1));
    memory(&mut svg, results, &frame(1, 1));
    svg.finish("Throughput, processor time by part, time and memory as the log grows")
}

fn nothing(svg: &mut Svg, frame: &Frame) {
    let middle = (frame.x + frame.width / 2.0, frame.y + frame.height / 2.0);
    svg.note(middle, Anchor::Middle, "not measured in this run");
}

fn throughput(svg: &mut Svg, results: &Results, frame: &Frame) {
    title(
        svg,
        frame,
        "Throughput",
        "Logarithmic; the relay checks nothing and keeps no log.",
    );
    let relay = results
        .relay
        .iter()
        .map(|p| (p.in_flight, p.per_second, BLUE));
    let exchange = results
        .exchange
        .iter()
        .map(|p| (p.in_flight, p.per_second, GREEN));
    let bars: Vec<_> = relay.chain(exchange).collect();
    let rates = || bars.iter().map(|b| b.1);
    let (Some(least), Some(most)) = (rates().reduce(f64::min), rates().reduce(f64::max)) else {
        return nothing(svg, frame);
    };
    let bottom = frame.y + frame.height;
    let y = Scale::logarithmic(least.min(100.0) * 0.9, most.max(1_000.0), bottom, frame.y);
    svg.upright(frame, &y, "per second");
    for (number, load) in [1, 16, 64].into_iter().enumerate() {
        let x = frame.x + frame.width * (number as f64 + 0.5) / 3.0;
        svg.note(
            (x, bottom + 17.0),
            Anchor::Middle,
            &format!("{load} in flight"),
        );
        for (_, rate, colour) in bars.iter().filter(|b| b.0 == load) {
            let left = if *colour == BLUE { x - 44.0 } else { x + 4.0 };
            let top = y.at(*rate);
            svg.bar((left, top), (40.0, bottom - top), colour);
            svg.value((left + 20.0, top - 5.0), Anchor::Middle, &short(*rate));
        }
    }
    svg.target(frame, y.at(1_000.0), "target at 64: 1 k");
    svg.legend((frame.x, bottom + 40.0), BLUE, "raw relay, two hops");
    svg.legend((frame.x + 170.0, bottom + 40.0), GREEN, "governed exchange");
}

/// Parts in the order in which they are drawn; those without a floor come last.
const ORDER: [&str; 11] = [
    "signatures",
    "sealing",
    "policy",
    "log",
    "store",
    "encoding",
    "wire",
    "disk",
    "scheduling",
    "memory",
    "other",
];

fn parts(svg: &mut Svg, results: &Results, frame: &Frame) {
    title(
        svg,
        frame,
        "Processor time of one exchange, by part",
        "At 64 in flight, all processes.",
    );
    let point = results.exchange.iter().find(|p| p.in_flight == 64);
    let (Some(point), Some(profile)) = (point, &results.profile) else {
        return nothing(svg, frame);
    };
    let total = point.product_cpu_ms();
    let rows: Vec<_> = ORDER
        .iter()
        .map(|part| {
            let of = results.needs.iter().filter(|need| need.part == *part);
            let floor: f64 = of.map(floor::Need::cpu_ms).sum();
            let measured = profile.parts.get(part).copied().unwrap_or_default() * total;
            (*part, floor, measured)
        })
        .collect();
    let most = rows.iter().map(|r| r.1.max(r.2)).fold(0.0, f64::max);
    let inner = Frame {
        x: frame.x + 30.0,
        width: frame.width - 40.0,
        ..*frame
    };
    let x = Scale::linear(most * 1.1, inner.x, inner.x + inner.width);
    svg.level(&inner, &x, "milliseconds of processor for one exchange");
    let step = inner.height / rows.len() as f64;
    for (number, (part, floor, measured)) in rows.iter().enumerate() {
        let y = inner.y + step * number as f64;
        let (thick, start) = (step * 0.36, x.start());
        svg.note((start - 8.0, y + step * 0.62), Anchor::End, part);
        svg.bar((start, y + step * 0.1), (x.at(*floor) - start, thick), BLUE);
        svg.bar(
            (start, y + step * 0.5),
            (x.at(*measured) - start, thick),
            GREEN,
        );
        let value = short(*measured);
        svg.value(
            (x.at(*measured) + 5.0, y + step * 0.85),
            Anchor::Start,
            &value,
        );
    }
    let bottom = frame.y + frame.height + 57.0;
    svg.legend((inner.x, bottom), BLUE, "the primitives alone");
    svg.legend((inner.x + 170.0, bottom), GREEN, "measured");
}

fn points(series: &Series, of: impl Fn(&growth::Point) -> f64) -> Vec<(f64, f64)> {
    series
        .points
        .iter()
        .map(|p| (p.size as f64, of(p)))
        .collect()
}

fn time(svg: &mut Svg, results: &Results, frame: &Frame) {
    title(
        svg,
        frame,
        "Processor time of one exchange as things grow",
        "Relative to the smallest size.",
    );
    let curves: Vec<_> = results
        .growth
        .iter()
        .zip([GREEN, BLUE])
        .map(|(series, colour)| {
            let first = series.points.first().map_or(1.0, |p| p.cpu_ms);
            (series.what, points(series, |p| p.cpu_ms / first), colour)
        })
        .collect();
    let sizes = || curves.iter().flat_map(|c| c.1.iter().map(|p| p.0));
    let most = curves
        .iter()
        .flat_map(|c| c.1.iter().map(|p| p.1))
        .fold(1.5, f64::max);
    let (Some(least), Some(largest)) = (sizes().reduce(f64::min), sizes().reduce(f64::max)) else {
        return nothing(svg, frame);
    };
    let bottom = frame.y + frame.height;
    let x = Scale::logarithmic(least, largest, frame.x, frame.x + frame.width);
    let y = Scale::linear(most, bottom, frame.y);
    svg.upright(frame, &y, "times");
    svg.level(frame, &x, "how many");
    svg.target(frame, y.at(1.3), "target: under 1.3");
    for (number, (what, points, colour)) in curves.iter().enumerate() {
        let at: Vec<_> = points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
        svg.curve(&at, colour);
        svg.legend(
            (frame.x + 190.0 * number as f64, bottom + 57.0),
            colour,
            what,
        );
    }
}

fn memory(svg: &mut Svg, results: &Results, frame: &Frame) {
    title(
        svg,
        frame,
        "The broker as its log grows",
        "Resident memory; start-up after a kill.",
    );
    let series = results.growth.iter().find(|s| s.what == growth::ENTRIES);
    let Some(series) = series.filter(|s| !s.points.is_empty()) else {
        return nothing(svg, frame);
    };
    let resident = points(series, |p| p.broker.resident_kib as f64 / 1024.0);
    let sizes = || resident.iter().map(|p| p.0);
    let (least, largest) = (
        sizes().fold(f64::MAX, f64::min),
        sizes().fold(1.0, f64::max),
    );
    let most = resident.iter().map(|p| p.1).fold(220.0, f64::max);
    let bottom = frame.y + frame.height;
    let x = Scale::logarithmic(least, largest, frame.x, frame.x + frame.width);
    let y = Scale::linear(most, bottom, frame.y);
    svg.upright(frame, &y, "MiB");
    svg.level(frame, &x, "entries");
    svg.target(frame, y.at(200.0), "target: under 200 MiB");
    let at: Vec<_> = resident.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
    svg.curve(&at, GREEN);
    for (point, (px, py)) in series.points.iter().zip(&at) {
        let text = format!("starts in {} s", short(point.start_s));
        // Beside the last point there is no room to its right.
        let anchor = if *px > frame.x + frame.width * 0.8 {
            Anchor::End
        } else {
            Anchor::Start
        };
        svg.value((*px, py - 10.0), anchor, &text);
    }
    svg.legend((frame.x, bottom + 57.0), GREEN, "resident memory");
}
