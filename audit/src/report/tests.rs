use super::*;
use proptest::prelude::*;

/// A table in which every exchange of a cell is about somebody else.
fn table(cells: &[Vec<u64>]) -> Table {
    let mut next = 0_u64;
    let mut cell = |exchanges: u64| {
        let people = (0..exchanges).map(|_| {
            next += 1;
            let mut handle = [0; 32];
            handle[..8].copy_from_slice(&next.to_be_bytes());
            Handle(handle)
        });
        Cell {
            exchanges,
            people: people.collect(),
        }
    };
    Table {
        rows: (0..cells.len()).map(|n| format!("r{n}")).collect(),
        columns: (0..cells[0].len()).map(|n| format!("c{n}")).collect(),
        cells: cells
            .iter()
            .map(|row| row.iter().map(|n| cell(*n)).collect())
            .collect(),
    }
}

const WITHHELD: Number = Number::Withheld(());

#[test]
fn a_small_number_is_withheld_and_so_is_what_would_reveal_it() {
    let shown = table(&[vec![40, 3], vec![25, 30], vec![50, 60]]).shown(LEAST);
    assert_eq!(shown.numbers[0], [WITHHELD, WITHHELD]);
    let withheld = |row: usize| {
        shown.numbers[row]
            .iter()
            .filter(|n| **n == WITHHELD)
            .count()
    };
    // The row total would give it away, and then the column totals.
    assert_eq!((withheld(1), withheld(2)), (2, 0));
    assert_eq!(shown.numbers[2], [Number::Shown(50), Number::Shown(60)]);
    assert_eq!(shown.total, Some(Number::Shown(208)));
}

#[test]
fn in_one_column_the_next_smallest_goes_with_it() {
    let shown = table(&[vec![40], vec![9], vec![12], vec![0]]).shown(LEAST);
    let expected = [Number::Shown(40), WITHHELD, WITHHELD, Number::Shown(0)];
    assert_eq!(shown.numbers.concat(), expected);
    assert_eq!(shown.column_totals, [Number::Shown(61)]);
    assert_eq!((shown.row_totals.len(), shown.total), (0, None));
}

#[test]
fn two_small_ones_that_are_still_too_few_together_take_a_third() {
    let shown = table(&[vec![40], vec![2], vec![3], vec![12]]).shown(LEAST);
    let withheld = shown
        .numbers
        .concat()
        .iter()
        .filter(|n| **n == WITHHELD)
        .count();
    assert_eq!((withheld, shown.numbers[0][0]), (3, Number::Shown(40)));
}

#[test]
fn many_exchanges_about_few_people_are_a_small_number() {
    let mut table = table(&[vec![40], vec![40], vec![40]]);
    let few: BTreeSet<_> = table.cells[1][0].people.iter().take(9).copied().collect();
    table.cells[1][0].people = few;
    let shown = table.shown(LEAST);
    assert_eq!(shown.numbers[1], [WITHHELD]);
    // Nobody is opened: nobody is counted.
    table.cells[0][0].people.clear();
    assert_eq!(table.shown(LEAST).numbers[0], [WITHHELD]);
}

#[test]
fn nobody_can_ask_for_less_than_the_least() {
    let table = table(&[vec![9], vec![30], vec![30]]);
    assert_eq!(table.shown(0), table.shown(LEAST));
    assert_eq!(table.shown(0).k, LEAST);
    // The total, about 69 people, may still be shown.
    assert_eq!(table.shown(40).withheld, 3);
    assert_eq!(table.shown(70).withheld, 4);
}

#[test]
fn a_table_is_readable_and_says_what_the_mark_means() {
    let shown = table(&[vec![40, 30], vec![3, 40], vec![20, 30]]).shown(LEAST);
    let text = shown.text();
    assert!(
        text.contains("<10*") && text.contains("fewer than 10 people"),
        "{text}"
    );
    assert!(
        shown.csv().starts_with(",c0,c1,total\r\n"),
        "{}",
        shown.csv()
    );
    let empty = Table {
        rows: Vec::new(),
        columns: Vec::new(),
        cells: Vec::new(),
    };
    assert_eq!(empty.shown(LEAST).text(), "no exchanges\n");
}

/// Whether the value of unknown `n` follows from these equations: elimination over rationals, as
/// fractions of integers.
fn is_determined(equations: &[Vec<i128>], n: usize) -> bool {
    let mut rows = equations.to_vec();
    let width = rows.first().map_or(0, Vec::len);
    // The unknown in question last, so that it is free unless the equations fix it.
    for row in &mut rows {
        row.swap(n, width - 1);
    }
    let mut done = 0;
    for column in 0..width {
        let Some(pivot) = (done..rows.len()).find(|r| rows[*r][column] != 0) else {
            continue;
        };
        rows.swap(done, pivot);
        let lead = rows[done].clone();
        for (place, row) in rows.iter_mut().enumerate() {
            if place != done && row[column] != 0 {
                let (a, b) = (lead[column], row[column]);
                for (x, y) in row.iter_mut().zip(&lead) {
                    *x = *x * a - *y * b;
                }
                let common = row.iter().fold(0_i128, |g, x| gcd(g, x.abs()));
                row.iter_mut()
                    .filter(|_| common > 1)
                    .for_each(|x| *x /= common);
            }
        }
        done += 1;
    }
    rows.iter()
        .any(|row| row[width - 1] != 0 && row[..width - 1].iter().all(|x| *x == 0))
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

proptest! {
    #[test]
    fn nothing_that_is_withheld_can_be_computed_from_what_is_shown(
        cells in (1_usize..5, 1_usize..5).prop_flat_map(|(rows, columns)| {
            let number = prop_oneof![Just(0_u64), 1_u64..12, 10_u64..60];
            proptest::collection::vec(proptest::collection::vec(number, columns), rows)
        }),
    ) {
        let shown = table(&cells).shown(LEAST);
        let (height, width) = (cells.len(), cells[0].len());
        let has_totals = width > 1;
        // Every number of the grid with its place among the unknowns, if it is withheld.
        let mut grid: Vec<Vec<Number>> = shown.numbers.clone();
        for (row, total) in grid.iter_mut().zip(&shown.row_totals) {
            row.push(*total);
        }
        let mut last = shown.column_totals.clone();
        last.extend(shown.total);
        grid.push(last);
        let places: Vec<_> = (0..=height)
            .flat_map(|r| (0..grid[r].len()).map(move |c| (r, c)))
            .filter(|(r, c)| grid[*r][*c] == WITHHELD)
            .collect();
        let unknown = |place: (usize, usize)| places.iter().position(|p| *p == place);
        let mut equations = Vec::new();
        let mut add = |line: Vec<(usize, usize)>| {
            let mut equation = vec![0_i128; places.len()];
            for (n, place) in line.iter().enumerate() {
                if let Some(at) = unknown(*place) {
                    equation[at] = if n + 1 == line.len() { -1 } else { 1 };
                }
            }
            equations.push(equation);
        };
        for column in 0..grid[0].len() {
            add((0..=height).map(|row| (row, column)).collect());
        }
        for row in (0..=height).filter(|_| has_totals) {
            add((0..grid[row].len()).map(|column| (row, column)).collect());
        }
        // Where all is withheld and one number is all there is, nothing is shown to compute from.
        let all_gone = grid.iter().flatten().all(|n| *n == WITHHELD);
        for (n, place) in places.iter().enumerate() {
            prop_assert!(
                all_gone || !is_determined(&equations, n),
                "{place:?} of {grid:?}"
            );
        }
        // What is shown is about enough people, and so is what is withheld under a shown total.
        for (row, numbers) in cells.iter().zip(&shown.numbers) {
            for (exchanges, number) in row.iter().zip(numbers) {
                prop_assert!(*number == WITHHELD || *exchanges == 0 || *exchanges >= 10);
            }
        }
        for (place, total) in shown.row_totals.iter().enumerate() {
            let hidden: u64 = cells[place].iter().zip(&shown.numbers[place])
                .filter(|(_, n)| **n == WITHHELD).map(|(n, _)| *n).sum();
            prop_assert!(*total == WITHHELD || hidden == 0 || hidden >= 10);
        }
    }
}
