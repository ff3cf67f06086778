//! Bar charts as SVG: values of several targets, in groups.

use std::fmt::Write;

/// A chart.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// What the axis counts.
    pub(crate) unit: String,
    pub(crate) groups: Vec<Group>,
}

/// Bars that belong together.
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) bars: Vec<Bar>,
}

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// Whether it is one of this project's.
    pub(crate) ours: bool,
}

// In pixels.
const WIDTH: f64 = 820.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
const HEAD: f64 = 56.0;
const GROUP_HEAD: f64 = 26.0;
const BAR: f64 = 16.0;
const GAP: f64 = 4.0;

const OURS: &str = "#2b6cb0";
const OTHERS: &str = "#a0aec0";

impl Chart {
    /// The picture. Bars begin at zero.
    pub(crate) fn to_svg(&self) -> String {
        let most = self.groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value).fold(0.0, f64::max);
        let scale = (WIDTH - LEFT - RIGHT) / if most > 0.0 { most } else { 1.0 };
        let mut body = String::new();
        let mut y = HEAD;
        for group in &self.groups {
            text(&mut body, 12.0, y + 14.0, "start", "bold", &group.label);
            y += GROUP_HEAD;
            for bar in &group.bars {
                draw(&mut body, bar, y, scale);
                y += BAR + GAP;
            }
            y += GAP * 2.0;
        }
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{y}\" fill=\"#ffffff\"/>\n"
        );
        text(&mut svg, 12.0, 22.0, "start", "bold", &self.title);
        text(&mut svg, 12.0, 40.0, "start", "normal", &self.unit);
        svg.push_str(&body);
        svg.push_str("</svg>\n");
        svg
    }
}

fn draw(svg: &mut String, bar: &Bar, y: f64, scale: f64) {
    let (length, colour) = ((bar.value * scale).max(1.0), if bar.ours { OURS } else { OTHERS });
    text(svg, LEFT - 8.0, y + 12.0, "end", "normal", &bar.label);
    // Writing to memory cannot fail.
    let _ = writeln!(svg, "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>");
    text(svg, LEFT + length + 6.0, y + 12.0, "start", "normal", &number(bar.value));
}

/// A number in three digits or more.
pub(crate) fn number(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, weight: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Writing to memory cannot fail.
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\" fill=\"#1a202c\">{content}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width_and_labels_are_escaped() {
        let bar = |label: &str, value| Bar { label: label.into(), value, ours: label == "ours" };
        let chart = Chart {
            title: "A < B".into(),
            unit: "s & ms".into(),
            groups: vec![Group { label: "one".into(), bars: vec![bar("ours", 1.0), bar("other", 2.0)] }],
        };
        let svg = chart.to_svg();
        assert!(svg.contains("A &lt; B") && svg.contains("s &amp; ms"));
        assert!(svg.contains("width=\"600.0\"") && svg.contains("width=\"300.0\""), "{svg}");
        assert_eq!((svg.matches(OURS).count(), svg.matches(OTHERS).count()), (1, 1));
    }

    #[test]
    fn a_chart_of_nothing_is_a_picture() {
        let empty = Chart { title: String::new(), unit: String::new(), groups: Vec::new() };
        assert!(empty.to_svg().ends_with("</svg>\n"));
    }
}
