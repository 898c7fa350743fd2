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
fn a_small_number_is_withheld_and_the_next_smallest_with_it() {
    let shown = table(&[vec![40, 3], vec![25, 30], vec![50, 60]]).shown(LEAST);
    assert_eq!(shown.numbers[0], [Number::Shown(40), WITHHELD]);
    // The total would give it away.
    assert_eq!(shown.numbers[1], [WITHHELD, Number::Shown(30)]);
    assert_eq!(shown.numbers[2], [Number::Shown(50), Number::Shown(60)]);
    assert_eq!((shown.total, shown.withheld), (Number::Shown(208), 2));
}

#[test]
fn in_one_column_the_next_smallest_goes_with_it() {
    let shown = table(&[vec![40], vec![9], vec![12], vec![0]]).shown(LEAST);
    let expected = [Number::Shown(40), WITHHELD, WITHHELD, Number::Shown(0)];
    assert_eq!(shown.numbers.concat(), expected);
    assert_eq!(shown.total, Number::Shown(61));
}

/// With totals of rows and columns the two ones of this table are each exactly known: the rows say
/// (71 - 50) + (74 - 51), the columns 123 - 81 of it.
#[test]
fn sums_over_several_lines_reveal_nobody() {
    let cells = [[20, 6, 40], [21, 7, 41], [50, 1, 20], [51, 1, 22]].map(|row| row.to_vec());
    let shown = table(&cells).shown(LEAST);
    let withheld = |(row, column): (usize, usize)| shown.numbers[row][column] == WITHHELD;
    assert!([(0, 1), (1, 1), (2, 1), (3, 1)].into_iter().all(withheld));
    assert_eq!(shown.withheld, 4);
    assert!(!shown.text().contains("66") && !shown.csv().contains("15"));
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
    assert!(shown.csv().starts_with(",c0,c1\r\n"), "{}", shown.csv());
    let empty = Table {
        rows: Vec::new(),
        columns: Vec::new(),
        cells: Vec::new(),
    };
    assert_eq!(empty.shown(LEAST).text(), "no exchanges\n");
}

proptest! {
    #[test]
    fn what_is_withheld_is_about_enough_together_and_what_is_shown_each(
        cells in (1_usize..5, 1_usize..5).prop_flat_map(|(rows, columns)| {
            let number = prop_oneof![Just(0_u64), 1_u64..12, 10_u64..60];
            proptest::collection::vec(proptest::collection::vec(number, columns), rows)
        }),
        k in 0_usize..40,
    ) {
        let shown = table(&cells).shown(k);
        let k = u64::try_from(k.max(LEAST)).unwrap();
        let (mut hidden, mut count) = (0, 0);
        for (row, numbers) in cells.iter().zip(&shown.numbers) {
            for (exchanges, number) in row.iter().zip(numbers) {
                match number {
                    Number::Shown(n) => prop_assert!(n == exchanges && (*n == 0 || *n >= k)),
                    Number::Withheld(()) => {
                        hidden += exchanges;
                        count += 1;
                    }
                }
            }
        }
        let all: u64 = cells.iter().flatten().sum();
        let is_hidden = hidden == 0 || hidden >= k && count > 1;
        match shown.total {
            Number::Shown(total) => prop_assert!(total == all && (all == 0 || all >= k)),
            Number::Withheld(()) => prop_assert!(all < k),
        }
        // Where everything is withheld under a total there is only the total to know.
        let nonzero = cells.iter().flatten().filter(|n| **n > 0).count();
        prop_assert!(is_hidden || all < k || count == nonzero, "{shown:?}");
    }
}
