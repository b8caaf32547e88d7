//! The frontier of learning against keeping as a picture: a point a candidate, what is lost to the
//! left, what is learned upwards.
//!
//! Plain SVG 1.1 with the colours in one style sheet, light and dark by the reader's preference. Size
//! and fill say how far a setting was trained, a ring marks the chosen one, and everything that a
//! colour says is also said by form or text.

use std::fmt::Write as _;

use super::style::{difference, score};
use crate::flow::{TunePoint, Tuning};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 96.0;

const STYLE: &str = "\
text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; font-size: 13px; fill: #24292f }
.ground { fill: #ffffff } .title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.grid { stroke: #d8dee4; stroke-width: 1 } .axis { stroke: #57606a; stroke-width: 1 }
.lost { fill: #cf222e; fill-opacity: 0.07 } .margin { stroke: #cf222e; stroke-width: 1; stroke-dasharray: 5 4 }
.frontier { fill: none; stroke: #0969da; stroke-width: 2 }
.early { fill: none; stroke: #57606a; stroke-width: 1.2 } .late { fill: #57606a; fill-opacity: 0.75 }
.on { fill: #0969da; fill-opacity: 1 } .early.on { fill: #ffffff; stroke: #0969da; stroke-width: 1.6 }
.ring { fill: none; stroke: #1a7f37; stroke-width: 2.5 } .name { font-weight: 600; fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .ground { fill: #0d1117 } .small { fill: #9198a1 }
.grid { stroke: #2a313c } .axis { stroke: #9198a1 } .lost { fill: #f85149; fill-opacity: 0.10 } .margin { stroke: #f85149 }
.frontier { stroke: #4493f8 } .early { stroke: #9198a1 } .late { fill: #9198a1 } .on { fill: #4493f8 }
.early.on { fill: #0d1117; stroke: #4493f8 } .ring { stroke: #3fb950 } .name { fill: #3fb950 }
}";

/// A range of values with round marks.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// Round values around what is shown, at most eight marks.
    fn around(low: f64, high: f64) -> Self {
        let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5];
        let step = steps
            .into_iter()
            .find(|step| (high - low) / step <= 7.0)
            .unwrap_or(0.5);
        // A value on a mark stays there, whatever rounding made of it.
        Axis {
            low: ((low / step + 1e-9).floor() * step).min(low),
            high: ((high / step - 1e-9).ceil() * step).max(high),
            step,
        }
    }

    fn marks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * self.step).collect()
    }

    /// Place of a value between 0 and 1.
    fn at(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// Both axes on the picture.
struct Frame {
    keep: Axis,
    learn: Axis,
}

impl Frame {
    fn of(points: &[&TunePoint], margin: f64) -> Self {
        let kept =
            |f: fn(f64, f64) -> f64, start: f64| points.iter().map(|p| p.kept()).fold(start, f);
        let learned = points.iter().map(|p| p.learn).fold(0.1, f64::max);
        let reserve = 0.01;
        Frame {
            keep: Axis::around(
                kept(f64::min, -margin) - reserve,
                kept(f64::max, 0.0) + reserve,
            ),
            learn: Axis::around(0.0, learned.min(1.0)),
        }
    }

    fn x(&self, kept: f64) -> f64 {
        LEFT + self.keep.at(kept) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, learned: f64) -> f64 {
        HEIGHT - BOTTOM - self.learn.at(learned) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The picture. `title` names the run.
pub fn frontier_svg(tuning: &Tuning, title: &str) -> String {
    let points = tuning.last_points();
    let frontier = tuning.frontier();
    let frame = Frame::of(&points, tuning.plan.margin);
    let mut parts = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title\">"
        ),
        format!("<title id=\"title\">{}</title>", escaped(title)),
        format!("<style>{STYLE}</style>"),
        format!("<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"),
        format!(
            "<text class=\"title\" x=\"{LEFT}\" y=\"28\">{}</text>",
            escaped(title)
        ),
        format!(
            "<text class=\"small\" x=\"{LEFT}\" y=\"47\">{}</text>",
            escaped(&subtitle(tuning))
        ),
    ];
    parts.extend(axes(&frame, tuning.plan.margin));
    parts.push(line(&frame, &frontier));
    for point in &points {
        parts.push(mark(&frame, tuning, point, frontier.contains(point)));
    }
    parts.extend(chosen(&frame, tuning, &points));
    parts.push(legend());
    parts.push("</svg>\n".into());
    parts.join("\n")
}

fn subtitle(tuning: &Tuning) -> String {
    let plan = &tuning.plan;
    let scales: Vec<String> = plan.scales.iter().map(f64::to_string).collect();
    format!(
        "{} settings at scales {}, each at its last look of up to {} probes",
        plan.settings.len(),
        scales.join(", "),
        plan.chosen_on.len()
    )
}

/// Grid, numbers, titles of the axes, and what is beyond the margin.
fn axes(frame: &Frame, margin: f64) -> Vec<String> {
    let (right, foot) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut parts = Vec::new();
    let edge = frame.x(-margin);
    parts.push(format!(
        "<rect class=\"lost\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        edge - LEFT,
        foot - TOP
    ));
    for value in frame.keep.marks() {
        let x = frame.x(value);
        parts.push(format!(
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{foot}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            foot + 16.0,
            difference(value)
        ));
    }
    for value in frame.learn.marks() {
        let y = frame.y(value);
        parts.push(format!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
             <text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            score(value)
        ));
    }
    parts.push(format!(
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{foot}\" x2=\"{right}\" y2=\"{foot}\"/>\
         <line class=\"axis\" x1=\"{LEFT}\" y1=\"{TOP}\" x2=\"{LEFT}\" y2=\"{foot}\"/>"
    ));
    // Where there is no room beyond the margin its name stands on this side.
    let (at, anchor, name) = match edge - LEFT > 150.0 {
        true => (edge - 6.0, "end", "loss beyond the margin"),
        false => (edge + 6.0, "start", "margin"),
    };
    parts.push(format!(
        "<line class=\"margin\" x1=\"{edge:.1}\" y1=\"{TOP}\" x2=\"{edge:.1}\" y2=\"{foot}\"/>\
         <text class=\"small\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
        foot - 8.0
    ));
    let middle = (LEFT + right) / 2.0;
    parts.push(format!(
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">keep: difference to the base</text>",
        foot + 38.0
    ));
    let middle = (TOP + foot) / 2.0;
    parts.push(format!(
        "<text transform=\"translate(20 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">learn score</text>"
    ));
    parts
}

/// The frontier as steps: up to each point nothing keeps more and learns more.
fn line(frame: &Frame, frontier: &[&TunePoint]) -> String {
    let mut path = String::new();
    for (place, point) in frontier.iter().enumerate() {
        let (x, y) = (frame.x(point.kept()), frame.y(point.learn));
        // Writing to a String does not fail.
        let _ = match place {
            0 => write!(path, "M{x:.1} {y:.1}"),
            _ => write!(path, " H{x:.1} V{y:.1}"),
        };
    }
    format!("<path class=\"frontier\" d=\"{path}\"/>")
}

/// A candidate, named where a pointer rests on it.
fn mark(frame: &Frame, tuning: &Tuning, point: &TunePoint, on_frontier: bool) -> String {
    let whole = point.rung + 1 == tuning.plan.rungs.len();
    let class = match (whole, on_frontier) {
        (true, true) => "late on",
        (true, false) => "late",
        (false, true) => "early on",
        (false, false) => "early",
    };
    let label = tuning
        .plan
        .setting(point.setting)
        .map_or(String::new(), |s| s.label());
    format!(
        "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\"><title>{}</title></circle>",
        frame.x(point.kept()),
        frame.y(point.learn),
        2.6 * point.scale + 2.4,
        escaped(&format!(
            "setting {} ({label}) at scale {}: learn {}, keep {}, step {}",
            point.setting,
            point.scale,
            score(point.learn),
            difference(point.kept()),
            point.step
        ))
    )
}

/// The ring around the chosen one, and its name.
fn chosen(frame: &Frame, tuning: &Tuning, points: &[&TunePoint]) -> Option<String> {
    let choice = tuning.choice?;
    let fits = |p: &&&TunePoint| (p.setting, p.scale) == (choice.setting, choice.scale);
    let point = points.iter().find(fits)?;
    let (x, y) = (frame.x(point.kept()), frame.y(point.learn));
    let (anchor, aside) = if x > WIDTH / 2.0 {
        ("end", -13.0)
    } else {
        ("start", 13.0)
    };
    // Under the frontier's line, and above the axis.
    let below = if y + 24.0 > HEIGHT - BOTTOM {
        -10.0
    } else {
        20.0
    };
    let label = tuning
        .plan
        .setting(choice.setting)
        .map_or(String::new(), |s| s.label());
    Some(format!(
        "<circle class=\"ring\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"9.5\"/>\
         <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
        x + aside,
        y + below,
        escaped(&format!("chosen: {label} at scale {}", choice.scale))
    ))
}

fn legend() -> String {
    let y = HEIGHT - 24.0;
    let entries = [
        (
            LEFT,
            "<circle class=\"late\" cx=\"0\" cy=\"0\" r=\"5\"/>",
            "trained to its end",
        ),
        (
            LEFT + 150.0,
            "<circle class=\"early\" cx=\"0\" cy=\"0\" r=\"5\"/>",
            "left behind",
        ),
        (
            LEFT + 262.0,
            "<path class=\"frontier\" d=\"M-9 5 V-5 H9\"/>",
            "frontier",
        ),
        (
            LEFT + 362.0,
            "<circle class=\"ring\" cx=\"0\" cy=\"0\" r=\"7\"/>",
            "chosen",
        ),
    ];
    let mut text = String::from("<g>");
    for (x, form, name) in entries {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "<g transform=\"translate({} {y})\">{form}<text class=\"small\" x=\"14\" y=\"4\">{name}</text></g>",
            x + 8.0
        );
    }
    let _ = write!(
        text,
        "<text class=\"small\" x=\"{}\" y=\"{}\" text-anchor=\"end\">larger: a larger scale</text></g>",
        WIDTH - RIGHT,
        y + 4.0
    );
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tuning_testing::{plan, point, tuning};

    /// What follows the style sheet.
    #[test]
    fn the_picture_of_a_tuning() {
        let svg = frontier_svg(&tuning(), "run <tune-0001>");
        let (_, drawn) = svg.split_once("</style>\n").unwrap();
        insta::assert_snapshot!(drawn, @r##"
        <rect class="ground" width="760" height="480"/>
        <text class="title" x="72" y="28">run &lt;tune-0001&gt;</text>
        <text class="small" x="72" y="47">4 settings at scales 1, 0.7, each at its last look of up to 40 probes</text>
        <rect class="lost" x="72" y="64" width="398.4" height="320.0"/>
        <line class="grid" x1="72.0" y1="64" x2="72.0" y2="384"/><text class="small" x="72.0" y="400.0" text-anchor="middle">-0.15</text>
        <line class="grid" x1="238.0" y1="64" x2="238.0" y2="384"/><text class="small" x="238.0" y="400.0" text-anchor="middle">-0.10</text>
        <line class="grid" x1="404.0" y1="64" x2="404.0" y2="384"/><text class="small" x="404.0" y="400.0" text-anchor="middle">-0.05</text>
        <line class="grid" x1="570.0" y1="64" x2="570.0" y2="384"/><text class="small" x="570.0" y="400.0" text-anchor="middle">0.00</text>
        <line class="grid" x1="736.0" y1="64" x2="736.0" y2="384"/><text class="small" x="736.0" y="400.0" text-anchor="middle">+0.05</text>
        <line class="grid" x1="72" y1="384.0" x2="736" y2="384.0"/><text class="small" x="64.0" y="388.0" text-anchor="end">0.00</text>
        <line class="grid" x1="72" y1="320.0" x2="736" y2="320.0"/><text class="small" x="64.0" y="324.0" text-anchor="end">0.20</text>
        <line class="grid" x1="72" y1="256.0" x2="736" y2="256.0"/><text class="small" x="64.0" y="260.0" text-anchor="end">0.40</text>
        <line class="grid" x1="72" y1="192.0" x2="736" y2="192.0"/><text class="small" x="64.0" y="196.0" text-anchor="end">0.60</text>
        <line class="grid" x1="72" y1="128.0" x2="736" y2="128.0"/><text class="small" x="64.0" y="132.0" text-anchor="end">0.80</text>
        <line class="grid" x1="72" y1="64.0" x2="736" y2="64.0"/><text class="small" x="64.0" y="68.0" text-anchor="end">1.00</text>
        <line class="axis" x1="72" y1="384" x2="736" y2="384"/><line class="axis" x1="72" y1="64" x2="72" y2="384"/>
        <line class="margin" x1="470.4" y1="64" x2="470.4" y2="384"/><text class="small" x="464.4" y="376.0" text-anchor="end">loss beyond the margin</text>
        <text x="404.0" y="422.0" text-anchor="middle">keep: difference to the base</text>
        <text transform="translate(20 224.0) rotate(-90)" text-anchor="middle">learn score</text>
        <path class="frontier" d="M603.2 224.0 H536.8 V184.0 H503.6 V104.0 H171.6 V84.0"/>
        <circle class="early" cx="570.0" cy="304.0" r="5.0"><title>setting 1 (1.0e-4 r8 all w3 e2) at scale 1: learn 0.25, keep 0.00, step 8</title></circle>
        <circle class="early" cx="570.0" cy="344.0" r="4.2"><title>setting 1 (1.0e-4 r8 all w3 e2) at scale 0.7: learn 0.12, keep 0.00, step 8</title></circle>
        <circle class="late on" cx="536.8" cy="184.0" r="5.0"><title>setting 2 (2.0e-4 r8 mlp w3 e2) at scale 1: learn 0.62, keep -0.01, step 16</title></circle>
        <circle class="late on" cx="603.2" cy="224.0" r="4.2"><title>setting 2 (2.0e-4 r8 mlp w3 e2) at scale 0.7: learn 0.50, keep +0.01, step 16</title></circle>
        <circle class="late on" cx="171.6" cy="84.0" r="5.0"><title>setting 4 (4.0e-4 r8 mlp w3 e2) at scale 1: learn 0.94, keep -0.12, step 16</title></circle>
        <circle class="late on" cx="503.6" cy="104.0" r="4.2"><title>setting 4 (4.0e-4 r8 mlp w3 e2) at scale 0.7: learn 0.88, keep -0.02, step 16</title></circle>
        <circle class="ring" cx="503.6" cy="104.0" r="9.5"/><text class="name" x="490.6" y="124.0" text-anchor="end">chosen: 4.0e-4 r8 mlp w3 e2 at scale 0.7</text>
        <g><g transform="translate(80 456)"><circle class="late" cx="0" cy="0" r="5"/><text class="small" x="14" y="4">trained to its end</text></g><g transform="translate(230 456)"><circle class="early" cx="0" cy="0" r="5"/><text class="small" x="14" y="4">left behind</text></g><g transform="translate(342 456)"><path class="frontier" d="M-9 5 V-5 H9"/><text class="small" x="14" y="4">frontier</text></g><g transform="translate(442 456)"><circle class="ring" cx="0" cy="0" r="7"/><text class="small" x="14" y="4">chosen</text></g><text class="small" x="736" y="460" text-anchor="end">larger: a larger scale</text></g>
        </svg>
        "##);
    }

    #[test]
    fn every_point_is_inside_the_frame() {
        for (learn, kept) in [(0.0, 0.0), (1.0, 0.4), (1.0, -1.0), (0.05, -0.03)] {
            let mut tuning = Tuning::of(plan(1));
            tuning.points = vec![point(1, 0, 1.0, learn, kept)];
            let points = tuning.last_points();
            let frame = Frame::of(&points, 0.03);
            assert!((LEFT..=WIDTH - RIGHT).contains(&frame.x(kept)), "{kept}");
            assert!((TOP..=HEIGHT - BOTTOM).contains(&frame.y(learn)), "{learn}");
            assert!((2..=9).contains(&frame.keep.marks().len()), "{kept}");
        }
    }

    #[test]
    fn a_picture_without_points_has_its_axes() {
        let svg = frontier_svg(&Tuning::of(plan(2)), "none yet");
        assert!(
            svg.contains("learn score") && !svg.contains("chosen: "),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
