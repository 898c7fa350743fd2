//! Which numbers of a table are withheld.
//!
//! There is one equation that a reader has: the numbers add up to the total. So what is withheld
//! follows, together, from what is shown, and must be about enough people together. Rows and columns
//! have no totals: with them, sums over several lines reveal single numbers that no single line does.

use super::{Cell, LEAST, Number, Shown, Table};

impl Table {
    /// The table with what must be withheld so that no number about fewer than `k` people can be
    /// read or computed. A `k` below [`LEAST`] is [`LEAST`].
    pub fn shown(&self, k: usize) -> Shown {
        let k = k.max(LEAST);
        let withheld = self.withheld(k);
        let total = sum(self.cells.iter().flatten());
        // Nothing of a table about too few, not even how many there were.
        let total = (total.exchanges == 0 || total.people.len() >= k).then_some(total.exchanges);
        let number = |row: usize, column: usize, cell: &Cell| {
            let is_withheld = withheld.contains(&(row, column));
            (!is_withheld).then_some(cell.exchanges).into()
        };
        let numbers: Vec<Vec<Number>> = self
            .cells
            .iter()
            .enumerate()
            .map(|(row, cells)| {
                let cells = cells.iter().enumerate();
                cells
                    .map(|(column, cell)| number(row, column, cell))
                    .collect()
            })
            .collect();
        Shown {
            k,
            rows: self.rows.clone(),
            columns: self.columns.clone(),
            withheld: withheld.len() + usize::from(total.is_none()),
            numbers,
            total: total.into(),
        }
    }

    /// The places of the numbers that are withheld.
    fn withheld(&self, k: usize) -> Vec<(usize, usize)> {
        let places = self.cells.iter().enumerate().flat_map(|(row, cells)| {
            let cells = cells.iter().enumerate();
            cells.map(move |(column, cell)| ((row, column), cell))
        });
        // A zero is shown: that nobody asked says nothing of anybody, and it would hide nothing.
        let mut open: Vec<_> = places.filter(|(_, cell)| cell.exchanges > 0).collect();
        open.sort_by_key(|(place, cell)| (cell.people.len() >= k, cell.exchanges, *place));
        let mut withheld = Vec::new();
        let mut together = Cell::default();
        for (place, cell) in open {
            // What is too small; then the smallest of the rest until all of it is about enough.
            let is_hidden = withheld.is_empty() || together.people.len() >= k && withheld.len() > 1;
            if cell.people.len() >= k && is_hidden {
                break;
            }
            withheld.push(place);
            together.add(cell);
        }
        withheld
    }
}

fn sum<'a>(cells: impl Iterator<Item = &'a Cell>) -> Cell {
    cells.fold(Cell::default(), |mut total, cell| {
        total.add(cell);
        total
    })
}

impl From<Option<u64>> for Number {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Withheld(()), Self::Shown)
    }
}
