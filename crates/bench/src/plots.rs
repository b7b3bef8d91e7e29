//! Figures as pictures: curves over an axis, as SVG.
//!
//! Drawn by `plotters`, with its SVG backend alone: axes, ticks and legends are what it saves us.

use std::error::Error;

use plotters::prelude::*;

use crate::failure::{Doing, Failure};
use crate::report::figure;

/// In pixels, as the file says; a reader may show it larger.
const SIZE: (u32, u32) = (860, 420);
/// Curves that belong together share a colour.
const COLOURS: [RGBColor; 6] = [
    RGBColor(180, 83, 9),
    RGBColor(29, 78, 216),
    RGBColor(21, 128, 61),
    RGBColor(126, 34, 206),
    RGBColor(190, 18, 60),
    RGBColor(71, 85, 105),
];

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// What it shows, in a sentence.
    pub title: String,
    /// What is across.
    pub across: Axis,
    /// What is upward, with its unit.
    pub upward: String,
    /// The curves, in the order of the legend.
    pub curves: Vec<Curve>,
}

/// What is across.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// This, evenly.
    Even(String),
    /// This, each step ten times the one before.
    Tenfold(String),
}

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// As the legend calls it.
    pub name: String,
    /// Which colour, counted from 0.
    pub colour: usize,
    /// Drawn in pieces: what something is compared with.
    pub dashed: bool,
    /// In order.
    pub points: Vec<(f64, f64)>,
}

impl Plot {
    /// The picture, as the text of an SVG file.
    ///
    /// # Errors
    /// If there is nothing to draw.
    pub fn svg(&self) -> Result<String, Failure> {
        if self.curves.iter().all(|curve| curve.points.len() < 2) {
            return Err(Failure::new(format!(
                "there is nothing to draw under {:?}",
                self.title
            )));
        }
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|error| error.to_string())
            .doing("drawing a plot")?;
        // One line for each element, with nothing at its end: what changes can be seen in a diff.
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        Ok(lines.join("\n") + "\n")
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn Error>> {
        let place = |x: f64| match self.across {
            Axis::Even(_) => x,
            Axis::Tenfold(_) => x.max(f64::MIN_POSITIVE).log10(),
        };
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let (mut left, mut right, mut top) = (f64::INFINITY, f64::NEG_INFINITY, 0.0_f64);
        for (x, y) in points {
            left = left.min(place(*x));
            right = right.max(place(*x));
            top = top.max(*y);
        }
        if let Axis::Tenfold(_) = self.across {
            (left, right) = (left.floor(), right.ceil());
        }
        let (Axis::Even(across) | Axis::Tenfold(across)) = &self.across;
        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 17))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(left..right, 0.0..(top * 1.15).max(f64::MIN_POSITIVE))?;
        let tick = |x: &f64| match self.across {
            Axis::Even(_) => figure(*x),
            Axis::Tenfold(_) if (x - x.round()).abs() < 0.01 => figure(10_f64.powf(*x)),
            // Between two powers of ten nobody reads a number.
            Axis::Tenfold(_) => String::new(),
        };
        chart
            .configure_mesh()
            .x_desc(across)
            .y_desc(&self.upward)
            .x_label_formatter(&tick)
            .y_label_formatter(&|y| figure(*y))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 13))
            .draw()?;
        for curve in &self.curves {
            let colour = COLOURS[curve.colour % COLOURS.len()];
            let points: Vec<_> = curve.points.iter().map(|(x, y)| (place(*x), *y)).collect();
            let width = if curve.points.len() > 100 { 1 } else { 2 };
            let style = ShapeStyle {
                color: colour.into(),
                filled: false,
                stroke_width: width,
            };
            let drawn = if curve.dashed {
                chart.draw_series(DashedLineSeries::new(points, 6, 5, style))?
            } else {
                chart.draw_series(LineSeries::new(points, style))?
            };
            let dashed = curve.dashed;
            drawn.label(&curve.name).legend(move |(x, y)| {
                let end = if dashed { x + 8 } else { x + 20 };
                PathElement::new(vec![(x, y), (end, y)], colour.stroke_width(2))
            });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .label_font(("sans-serif", 13))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

/// So many points at most, the highest of each stretch: an hour of seconds is more than a picture can show.
#[must_use]
pub fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(most.max(1)).max(1);
    points
        .chunks(stretch)
        .filter_map(|stretch| {
            let highest = stretch.iter().map(|(_, y)| *y).fold(f64::NEG_INFINITY, f64::max);
            stretch.first().map(|(x, _)| (*x, highest))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_title_its_curves_and_its_axes() {
        let curve = |name: &str, dashed| Curve {
            name: name.to_owned(),
            colour: 0,
            dashed,
            points: vec![(1.0, 2.0), (10.0, 3.0), (100.0, 2.5)],
        };
        let plot = Plot {
            title: "What it shows".to_owned(),
            across: Axis::Tenfold("units".to_owned()),
            upward: "ms".to_owned(),
            curves: vec![curve("ours", false), curve("raw", true)],
        };
        let svg = plot.svg().unwrap();
        for part in ["<svg", "What it shows", "units", "ours", "raw", "<polyline"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert_eq!(svg, plot.svg().unwrap(), "the same figures are the same picture");
        let empty = Plot {
            curves: Vec::new(),
            ..plot
        };
        assert!(empty.svg().is_err());
    }

    #[test]
    fn thinning_keeps_the_highest() {
        let points: Vec<_> = (0..100)
            .map(|n| (f64::from(n), if n == 57 { 9.0 } else { 1.0 }))
            .collect();
        let thin = thinned(&points, 10);
        assert_eq!(thin.len(), 10);
        assert!(thin.contains(&(50.0, 9.0)));
    }
}
