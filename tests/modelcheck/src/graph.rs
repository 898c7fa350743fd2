//! The whole graph of a model, for the question that a checker of single paths can't answer: from
//! everywhere, is there a way to the end?

use stateright::Model;
use std::{collections::HashMap, hash::Hash};

/// Every reachable state, and every step.
#[derive(Debug)]
pub struct Graph<M: Model> {
    /// The states; the first are the initial ones.
    pub states: Vec<M::State>,
    /// From, to, by which action.
    pub steps: Vec<(u32, u32, M::Action)>,
    /// By which step a state was first reached.
    parents: Vec<Option<u32>>,
}

impl<M> Graph<M>
where
    M: Model,
    M::State: Clone + Eq + Hash,
    M::Action: Clone,
{
    /// Explores breadth first.
    pub fn explore(model: &M) -> Self {
        let mut graph = Self {
            states: Vec::new(),
            steps: Vec::new(),
            parents: Vec::new(),
        };
        let mut numbers: HashMap<M::State, u32> = HashMap::new();
        for state in model.init_states() {
            numbers.insert(state.clone(), graph.states.len() as u32);
            graph.states.push(state);
            graph.parents.push(None);
        }
        let mut next = 0;
        while next < graph.states.len() {
            let here = graph.states[next].clone();
            let mut actions = Vec::new();
            model.actions(&here, &mut actions);
            for action in actions {
                let Some(there) = model.next_state(&here, action.clone()) else {
                    continue;
                };
                let new = graph.states.len() as u32;
                let to = *numbers.entry(there.clone()).or_insert(new);
                if to == new {
                    graph.states.push(there);
                    graph.parents.push(Some(graph.steps.len() as u32));
                }
                graph.steps.push((next as u32, to, action));
            }
            next += 1;
        }
        graph
    }

    /// For each state, whether a state that is a `goal` can be reached by steps that are `fair`.
    pub fn can_reach(
        &self,
        goal: impl Fn(&M::State) -> bool,
        fair: impl Fn(&M::Action) -> bool,
    ) -> Vec<bool> {
        let mut reached: Vec<bool> = self.states.iter().map(goal).collect();
        let mut starts = vec![0_u32; self.states.len() + 1];
        for (_, to, action) in &self.steps {
            if fair(action) {
                starts[*to as usize + 1] += 1;
            }
        }
        for n in 1..starts.len() {
            starts[n] += starts[n - 1];
        }
        let mut filled = starts.clone();
        let mut backward = vec![0_u32; starts[self.states.len()] as usize];
        for (from, to, action) in &self.steps {
            if fair(action) {
                let slot = &mut filled[*to as usize];
                backward[*slot as usize] = *from;
                *slot += 1;
            }
        }
        let mut todo: Vec<usize> = (0..reached.len()).filter(|n| reached[*n]).collect();
        while let Some(n) = todo.pop() {
            for from in &backward[starts[n] as usize..starts[n + 1] as usize] {
                let from = *from as usize;
                if !reached[from] {
                    reached[from] = true;
                    todo.push(from);
                }
            }
        }
        reached
    }

    /// The shortest way to state `n`.
    pub fn way_to(&self, n: usize) -> Vec<M::Action> {
        let mut way = Vec::new();
        let mut at = n;
        while let Some(step) = self.parents[at] {
            let (from, _, action) = &self.steps[step as usize];
            way.push(action.clone());
            at = *from as usize;
        }
        way.reverse();
        way
    }
}
