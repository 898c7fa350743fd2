//! As much of SVG as the plot needs: text, lines, bars, and axes that are linear or logarithmic.

use std::fmt::Write as _;

/// Colours that people with colour-blindness tell apart (Okabe and Ito).
pub(crate) const BLUE: &str = "#0072b2";
/// See [`BLUE`].
pub(crate) const ORANGE: &str = "#d55e00";
/// See [`BLUE`].
pub(crate) const GREEN: &str = "#009e73";
/// Lines behind everything.
const GRID: &str = "#e3e6ea";
/// Text beside the axes.
const QUIET: &str = "#5b6470";
/// Headings and values.
const INK: &str = "#1c2430";

/// Where a text is held.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    /// By its left end.
    Start,
    /// By its middle.
    Middle,
    /// By its right end.
    End,
}

/// A drawing.
pub(crate) struct Svg {
    body: String,
    width: f64,
    height: f64,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

impl Svg {
    /// An empty one; lengths are pixels at their natural size.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self {
            body: String::new(),
            width,
            height,
        }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = writeln!(self.body, "{element}");
    }

    fn text(&mut self, at: (f64, f64), size: f64, colour: &str, anchor: Anchor, text: &str) {
        let (x, y) = at;
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" \
             text-anchor=\"{anchor}\" stroke=\"#ffffff\" stroke-width=\"3\" \
             paint-order=\"stroke\" stroke-linejoin=\"round\">{text}</text>"
        ));
    }

    /// A heading.
    pub(crate) fn heading(&mut self, at: (f64, f64), size: f64, text: &str) {
        let (x, y) = at;
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{INK}\" \
             font-weight=\"600\">{text}</text>"
        ));
    }

    /// A remark.
    pub(crate) fn note(&mut self, at: (f64, f64), anchor: Anchor, text: &str) {
        self.text(at, 11.5, QUIET, anchor, text);
    }

    /// A value beside what it belongs to.
    pub(crate) fn value(&mut self, at: (f64, f64), anchor: Anchor, text: &str) {
        self.text(at, 11.5, INK, anchor, text);
    }

    /// A line of a legend.
    pub(crate) fn legend(&mut self, at: (f64, f64), colour: &str, text: &str) {
        self.bar((at.0, at.1 - 9.0), (12.0, 10.0), colour);
        self.note((at.0 + 17.0, at.1), Anchor::Start, text);
    }

    /// A filled rectangle.
    pub(crate) fn bar(&mut self, at: (f64, f64), size: (f64, f64), colour: &str) {
        let ((x, y), (w, h)) = (at, size);
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"1.5\" \
             fill=\"{colour}\"/>"
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, dash: &str) {
        self.add(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" \
             stroke-dasharray=\"{dash}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through points, with a dot at each.
    pub(crate) fn curve(&mut self, points: &[(f64, f64)], colour: &str) {
        let path: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        ));
        for (x, y) in points {
            self.add(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            ));
        }
    }

    /// The whole document; `what` is read to those who can't see it.
    pub(crate) fn finish(self, what: &str) -> String {
        let Self {
            body,
            width,
            height,
        } = self;
        let what = escaped(what);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"system-ui, Helvetica, \
             Arial, sans-serif\">\n<title>{what}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }
}

/// A scale from values to pixels.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    /// From 0 to a round number that `most` fits under.
    pub(crate) fn linear(most: f64, from: f64, to: f64) -> Self {
        let step = round_step(most / 4.0);
        Self {
            low: 0.0,
            high: (most / step).ceil().max(1.0) * step,
            from,
            to,
            is_log: false,
        }
    }

    /// From a power of ten to a power of ten.
    pub(crate) fn logarithmic(least: f64, most: f64, from: f64, to: f64) -> Self {
        let low = 10_f64.powf(least.max(1e-6).log10().floor());
        let high = 10_f64.powf(most.max(1e-6).log10().ceil());
        Self {
            low,
            high: high.max(low * 10.0),
            from,
            to,
            is_log: true,
        }
    }

    /// The pixel of a value; what is below the scale is at its beginning.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = value.max(self.low);
        let share = if self.is_log {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// The pixel where it begins.
    pub(crate) fn start(&self) -> f64 {
        self.from
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let step = round_step(self.high / 4.0);
        let mut tick = self.low;
        while tick <= self.high * 1.001 && ticks.len() < 12 {
            ticks.push(tick);
            tick = if self.is_log {
                tick * 10.0
            } else {
                tick + step
            };
        }
        ticks
    }
}

fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-9).log10().floor());
    let lead = step / power;
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|r| lead <= *r);
    round.unwrap_or(10.0) * power
}

/// A number as people write it on an axis.
pub(crate) fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", trimmed(v / 1e6)),
        v if v >= 1e3 => format!("{} k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

fn trimmed(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Where a panel's figures are.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Left.
    pub(crate) x: f64,
    /// Top.
    pub(crate) y: f64,
    /// Width.
    pub(crate) width: f64,
    /// Height.
    pub(crate) height: f64,
}

impl Svg {
    /// Lines and numbers of an upright axis.
    pub(crate) fn upright(&mut self, frame: &Frame, scale: &Scale, unit: &str) {
        for tick in scale.ticks() {
            let y = scale.at(tick);
            self.line((frame.x, y), (frame.x + frame.width, y), GRID, "");
            self.note((frame.x - 7.0, y + 4.0), Anchor::End, &short(tick));
        }
        self.note((frame.x - 40.0, frame.y - 10.0), Anchor::Start, unit);
    }

    /// Lines and numbers of a level axis.
    pub(crate) fn level(&mut self, frame: &Frame, scale: &Scale, unit: &str) {
        let bottom = frame.y + frame.height;
        for tick in scale.ticks() {
            let x = scale.at(tick);
            self.line((x, frame.y), (x, bottom), GRID, "");
            self.note((x, bottom + 17.0), Anchor::Middle, &short(tick));
        }
        let middle = frame.x + frame.width / 2.0;
        self.note((middle, bottom + 35.0), Anchor::Middle, unit);
    }

    /// A broken line at a target.
    pub(crate) fn target(&mut self, frame: &Frame, y: f64, text: &str) {
        let right = frame.x + frame.width;
        self.line((frame.x, y), (right, y), ORANGE, "5 4");
        self.text((right, y - 6.0), 11.5, ORANGE, Anchor::End, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_begin_and_end_where_they_should() {
        let scale = Scale::linear(93.0, 200.0, 0.0);
        assert_eq!((scale.at(0.0), scale.at(100.0)), (200.0, 0.0));
        let scale = Scale::logarithmic(30.0, 900.0, 0.0, 100.0);
        assert_eq!((scale.at(10.0), scale.at(100.0)), (0.0, 50.0));
        assert_eq!(scale.at(0.0), 0.0, "below the scale is its beginning");
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.25, 12.5, 1_000.0, 2_500_000.0].map(short);
        assert_eq!(numbers, ["0", "0.25", "12.5", "1 k", "2.5 M"]);
    }
}
