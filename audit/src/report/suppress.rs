//! Which numbers of a table are withheld.
//!
//! The table with its totals is one grid: a total is a number like any other, in a line of its own.
//! Rows and columns are the nodes of a graph, withheld numbers its edges.

use super::{Cell, LEAST, Number, Shown, Table};
use std::collections::BTreeSet;

/// The numbers of a table and its totals, and which of them are withheld.
struct Grid {
    /// By row, then column; totals last.
    cells: Vec<Vec<Cell>>,
    withheld: Vec<Vec<bool>>,
    k: usize,
    /// Whether the last column is that of the totals.
    row_totals: bool,
}

/// A row or a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Row(usize),
    Column(usize),
}

impl Table {
    /// The table with what must be withheld so that no number about fewer than `k` people can be
    /// read or computed. A `k` below [`LEAST`] is [`LEAST`].
    pub fn shown(&self, k: usize) -> Shown {
        let mut grid = Grid::of(self, k.max(LEAST));
        grid.withhold();
        grid.into_shown(self)
    }
}

impl Grid {
    fn of(table: &Table, k: usize) -> Self {
        let mut cells = table.cells.clone();
        let row_totals = table.columns.len() > 1;
        if row_totals {
            for row in &mut cells {
                row.push(sum(row.iter()));
            }
        }
        let width = cells.first().map_or(0, Vec::len);
        let totals = (0..width).map(|column| sum(cells.iter().filter_map(|row| row.get(column))));
        let totals: Vec<Cell> = totals.collect();
        if !cells.is_empty() {
            cells.push(totals);
        }
        let small = |cell: &Cell| cell.exchanges > 0 && cell.people.len() < k;
        let withheld = cells
            .iter()
            .map(|row| row.iter().map(small).collect())
            .collect();
        Self {
            cells,
            withheld,
            k,
            row_totals,
        }
    }

    fn height(&self) -> usize {
        self.cells.len()
    }

    fn width(&self) -> usize {
        self.cells.first().map_or(0, Vec::len)
    }

    fn is_withheld(&self, row: usize, column: usize) -> bool {
        let place = self.withheld.get(row).and_then(|row| row.get(column));
        place.copied().unwrap_or(true)
    }

    fn cell(&self, row: usize, column: usize) -> Option<&Cell> {
        self.cells.get(row)?.get(column)
    }

    fn lines(&self) -> impl Iterator<Item = Line> + use<> {
        let rows = (0..self.height()).map(Line::Row);
        rows.chain((0..self.width()).map(Line::Column))
    }

    /// The places of a line that add up to its last: all numbers but the total, then the total.
    /// The total column has none of rows that have no totals.
    fn places(&self, line: Line) -> Vec<(usize, usize)> {
        match line {
            Line::Row(row) => (0..self.width()).map(|column| (row, column)).collect(),
            Line::Column(column) => (0..self.height()).map(|row| (row, column)).collect(),
        }
    }

    /// Whether the numbers of the line add up to one that is there.
    fn has_total(&self, line: Line) -> bool {
        matches!(line, Line::Column(_)) || self.row_totals
    }

    /// Withholds more until nothing that is withheld follows from what is shown. Each step
    /// withholds a number, so it ends.
    fn withhold(&mut self) {
        while let Some(lines) = self.revealing() {
            // The smallest that helps; a total only where nothing else is left.
            let open = lines.iter().flat_map(|line| self.places(*line));
            let open = open.filter(|(row, column)| !self.is_withheld(*row, *column));
            let cost = |&(row, column): &(usize, usize)| {
                let is_total =
                    row + 1 == self.height() || self.row_totals && column + 1 == self.width();
                let cell = self.cell(row, column);
                let exchanges = cell.map_or(0, |cell| cell.exchanges);
                // A zero hides nothing: last.
                (is_total, exchanges == 0, exchanges, row, column)
            };
            let Some((row, column)) = open.min_by_key(cost) else {
                return;
            };
            if let Some(place) = self.withheld.get_mut(row).and_then(|r| r.get_mut(column)) {
                *place = true;
            }
        }
    }

    /// Lines in one of which another number must be withheld; `None` if nothing is revealed.
    fn revealing(&self) -> Option<Vec<Line>> {
        let thin = self.lines().find(|line| self.is_thin(*line));
        if let Some(line) = thin {
            return Some(vec![line]);
        }
        let (row, column) = self.bridge()?;
        Some(vec![Line::Row(row), Line::Column(column)])
    }

    /// Whether what is withheld of the line follows, together, from what is shown of it, and is
    /// about too few.
    fn is_thin(&self, line: Line) -> bool {
        let mut places = self.places(line);
        if !self.has_total(line) {
            return false;
        }
        let Some((row, column)) = places.pop() else {
            return false;
        };
        if self.is_withheld(row, column) {
            return false;
        }
        let withheld = places
            .into_iter()
            .filter(|(row, column)| self.is_withheld(*row, *column))
            .filter_map(|(row, column)| self.cell(row, column));
        let withheld: Vec<_> = withheld.collect();
        !withheld.is_empty() && sum(withheld.into_iter()).people.len() < self.k
    }

    /// A withheld number that the shown ones determine: an edge on no cycle.
    fn bridge(&self) -> Option<(usize, usize)> {
        let edges = (0..self.height()).flat_map(|r| (0..self.width()).map(move |c| (r, c)));
        let mut edges = edges.filter(|(row, column)| self.is_withheld(*row, *column));
        edges.find(|&edge| !self.is_on_a_cycle(edge))
    }

    /// Whether row and column of `edge` are joined without it.
    fn is_on_a_cycle(&self, edge: (usize, usize)) -> bool {
        // Without row totals a row has one number, and no equation.
        if !self.row_totals {
            return self
                .places(Line::Column(edge.1))
                .iter()
                .any(|place| *place != edge && self.is_withheld(place.0, place.1));
        }
        let mut rows = BTreeSet::from([edge.0]);
        let mut columns = BTreeSet::new();
        let mut open = vec![Line::Row(edge.0)];
        while let Some(line) = open.pop() {
            for place in self.places(line) {
                if place == edge || !self.is_withheld(place.0, place.1) {
                    continue;
                }
                if place.1 == edge.1 {
                    return true;
                }
                if columns.insert(place.1) {
                    open.push(Line::Column(place.1));
                }
                if rows.insert(place.0) {
                    open.push(Line::Row(place.0));
                }
            }
        }
        false
    }

    fn number(&self, row: usize, column: usize) -> Number {
        match self.cell(row, column) {
            Some(cell) if !self.is_withheld(row, column) => Number::Shown(cell.exchanges),
            Some(_) | None => Number::Withheld(()),
        }
    }

    fn into_shown(self, table: &Table) -> Shown {
        let (rows, columns) = (table.rows.len(), table.columns.len());
        let row = |row: usize| {
            (0..columns)
                .map(|column| self.number(row, column))
                .collect()
        };
        let row_totals = |_: &()| (0..rows).map(|row| self.number(row, columns)).collect();
        let is_empty = self.cells.is_empty();
        Shown {
            k: self.k,
            rows: table.rows.clone(),
            columns: table.columns.clone(),
            numbers: (0..rows).map(row).collect(),
            row_totals: self
                .row_totals
                .then_some(())
                .as_ref()
                .map_or_else(Vec::new, row_totals),
            column_totals: match is_empty {
                true => Vec::new(),
                false => row(rows),
            },
            total: self.row_totals.then(|| self.number(rows, columns)),
            withheld: self.withheld.iter().flatten().filter(|is| **is).count(),
        }
    }
}

fn sum<'a>(cells: impl Iterator<Item = &'a Cell>) -> Cell {
    cells.fold(Cell::default(), |mut total, cell| {
        total.add(cell);
        total
    })
}
