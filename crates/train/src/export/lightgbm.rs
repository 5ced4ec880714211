//! LightGBM's text format, version 4.

use std::fmt::Display;

use icecore_core::Result;
use serde_json::json;

use super::unsupported;
use crate::categories::Categories;
use crate::import::PANDAS_FEATURES as FEATURES_FIELD;
use crate::model::FittedModel;
use crate::tree::{CategorySet, Ensemble, Link, Node, Question, Side, Split, Tree};

/// Decision types: what is missing is NaN, and goes left or right; or a category.
const MISSING_LEFT: u8 = 2 << 2 | 2;
const MISSING_RIGHT: u8 = 2 << 2;
const CATEGORICAL: u8 = 1;
/// The greatest category that a set of bits may hold here.
const CATEGORY_MAX: f64 = 65_535.0;

pub(super) fn write(model: &FittedModel, ensemble: &Ensemble) -> Result<String> {
    let inputs = &model.header.signature.inputs;
    let categories: Vec<Option<&Categories>> =
        inputs.iter().map(|input| model.header.categories.get(&input.name)).collect();
    let names: Vec<String> = inputs
        .iter()
        // Names are divided by spaces; LightGBM itself writes underscores for them.
        .map(|input| input.name.replace(char::is_whitespace, "_"))
        .collect();
    let outputs = ensemble.outputs();
    let mut trees = with_bases(ensemble);
    if trees.is_empty() {
        trees = ensemble.bases.iter().map(|base| Tree::constant(*base)).collect();
    }
    let blocks: Vec<String> = trees
        .iter()
        .enumerate()
        .map(|(number, tree)| block(number, tree, &categories))
        .collect::<Result<_>>()?;
    let (objective, classes) = match ensemble.link {
        Link::Logistic => ("binary sigmoid:1".to_owned(), 1),
        Link::Identity | Link::Mean => ("regression".to_owned(), 1),
        Link::Exp => ("poisson".to_owned(), 1),
        Link::Softmax => (format!("multiclass num_class:{outputs}"), outputs),
        Link::Shares => return Err(unsupported("trees whose leaves are shares of classes")),
    };
    let averages = if ensemble.link == Link::Mean { "average_output\n" } else { "" };
    let infos = categories.iter().map(|of| of.map_or_else(|| "[-1e+308:1e+308]".to_owned(), info));
    let text_lists: Vec<(usize, &Vec<String>)> = categories
        .iter()
        .enumerate()
        .filter_map(|(feature, categories)| match categories {
            Some(Categories::Text(values)) => Some((feature, values)),
            _ => None,
        })
        .collect();
    // Other readers pass over what they do not know.
    let text_features = if text_lists.is_empty() {
        String::new()
    } else {
        format!("{FEATURES_FIELD}={}\n", spaced(text_lists.iter().map(|(feature, _)| feature)))
    };
    let text_lists: Vec<&Vec<String>> = text_lists.into_iter().map(|(_, values)| values).collect();
    let pandas = if text_lists.is_empty() { json!(null) } else { json!(text_lists) };
    Ok(format!(
        "tree\nversion=v4\nnum_class={classes}\nnum_tree_per_iteration={outputs}\nlabel_index=0\n\
         max_feature_idx={}\nobjective={objective}\n{averages}feature_names={}\nfeature_infos={}\n\
         {text_features}tree_sizes={}\n\n{}end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n\n\
         pandas_categorical:{pandas}\n",
        names.len().saturating_sub(1),
        names.join(" "),
        spaced(infos),
        spaced(blocks.iter().map(String::len)),
        blocks.concat(),
    ))
}

/// The trees, with what predictions begin with in the leaves of the first ones: the format has no
/// place for it.
fn with_bases(ensemble: &Ensemble) -> Vec<Tree> {
    let outputs = ensemble.outputs();
    let mut trees = ensemble.trees.clone();
    for (number, tree) in trees.iter_mut().enumerate() {
        // The mean of trees takes it from each of them.
        if number >= outputs && ensemble.link != Link::Mean {
            break;
        }
        for place in 0..tree.nodes().len() as u32 {
            if let Node::Leaf(value) = tree.node(place) {
                tree.set_leaf(place, value + ensemble.bases[number % outputs]);
            }
        }
    }
    trees
}

/// A tree as its lists.
fn block(number: usize, tree: &Tree, categories: &[Option<&Categories>]) -> Result<String> {
    let leaf_numbers = tree.leaf_numbers();
    let splits: Vec<(u32, Split)> = (0..tree.nodes().len() as u32)
        .filter_map(|place| match tree.node(place) {
            Node::Split(split) => Some((place, split)),
            Node::Leaf(_) => None,
        })
        .collect();
    let mut split_numbers = vec![0_i64; tree.nodes().len()];
    for (number, (place, _)) in splits.iter().enumerate() {
        split_numbers[*place as usize] = number as i64;
    }
    let child = |place: u32| match tree.node(place) {
        Node::Leaf(_) => -1 - i64::from(leaf_numbers[place as usize]),
        Node::Split(_) => split_numbers[place as usize],
    };
    let mut leaves: Vec<(u32, u32, f64)> = Vec::new();
    for (place, node) in (0_u32..).zip(tree.nodes()) {
        if let Node::Leaf(value) = node {
            leaves.push((leaf_numbers[place as usize], place, *value));
        }
    }
    leaves.sort_unstable_by_key(|(number, ..)| *number);
    let asked: Vec<Asked> =
        splits.iter().map(|(_, split)| Asked::new(split, categories)).collect::<Result<_>>()?;
    let (mut ends, mut words, mut sets) = (vec![0], Vec::<u32>::new(), 0);
    let mut thresholds = Vec::with_capacity(splits.len());
    for asked in &asked {
        match &asked.set {
            None => thresholds.push(format!("{:?}", asked.threshold)),
            Some(set) => {
                thresholds.push(sets.to_string());
                words.extend(set);
                ends.push(words.len());
                sets += 1;
            }
        }
    }
    let sets_text = if sets == 0 {
        String::new()
    } else {
        format!("cat_boundaries={}\ncat_threshold={}\n", spaced(&ends), spaced(&words))
    };
    let sides = |which: usize| {
        spaced(splits.iter().zip(&asked).map(|((_, split), asked)| {
            let children = [split.left, split.right];
            child(children[if asked.swaps { 1 - which } else { which }])
        }))
    };
    let count = |place: u32| tree.note(place).cover.round();
    let leaf_counts = spaced(leaves.iter().map(|(_, place, _)| count(*place)));
    let split_counts = spaced(splits.iter().map(|(place, _)| count(*place)));
    Ok(format!(
        "Tree={number}\nnum_leaves={}\nnum_cat={sets}\nsplit_feature={}\nsplit_gain={}\n\
         threshold={}\ndecision_type={}\nleft_child={}\nright_child={}\nleaf_value={}\n\
         leaf_weight={leaf_counts}\nleaf_count={leaf_counts}\ninternal_value={}\n\
         internal_weight={split_counts}\ninternal_count={split_counts}\n{sets_text}is_linear=0\n\
         shrinkage=1\n\n\n",
        leaves.len(),
        spaced(splits.iter().map(|(_, split)| split.feature)),
        spaced(splits.iter().map(|(place, _)| tree.note(*place).gain)),
        thresholds.join(" "),
        spaced(asked.iter().map(|asked| asked.decision)),
        sides(0),
        sides(1),
        spaced(leaves.iter().map(|(_, _, value)| format!("{value:?}"))),
        spaced(splits.iter().map(|_| 0)),
    ))
}

/// A split as LightGBM asks.
struct Asked {
    decision: u8,
    threshold: f64,
    /// The bits of the categories that go left.
    set: Option<Vec<u32>>,
    /// Whether the children change places.
    swaps: bool,
}

impl Asked {
    fn new(split: &Split, categories: &[Option<&Categories>]) -> Result<Self> {
        let missing_left = split.missing == Side::Left;
        let set = match split.question {
            Question::AtMost(threshold) => {
                let decision = if missing_left { MISSING_LEFT } else { MISSING_RIGHT };
                return Ok(Self { decision, threshold, set: None, swaps: false });
            }
            Question::OneOf(set) => set,
        };
        let categories = categories.get(split.feature as usize).copied().flatten();
        let categories =
            categories.ok_or_else(|| unsupported("a split about categories without any"))?;
        // What is missing goes right in LightGBM: where it goes left here, the sides change.
        let bits = bits(set, missing_left, categories)?;
        Ok(Self { decision: CATEGORICAL, threshold: 0.0, set: Some(bits), swaps: missing_left })
    }
}

/// The categories in the set, or those that are not, as bits.
fn bits(set: CategorySet, inverted: bool, categories: &Categories) -> Result<Vec<u32>> {
    let mut words = vec![0_u32];
    for place in 0..categories.len() {
        if set.contains(place as u8) == inverted {
            continue;
        }
        let number = match categories {
            Categories::Text(_) | Categories::Codes(_) => place as f64,
            Categories::Number(values) | Categories::Whole(values) => values[place],
        };
        if !is_category(number) {
            return Err(unsupported(&format!("the category `{number}`"))
                .with_help("LightGBM knows categories that are whole numbers from 0 to 65535"));
        }
        let number = number as usize;
        if words.len() <= number / 32 {
            words.resize(number / 32 + 1, 0);
        }
        words[number / 32] |= 1 << (number % 32);
    }
    Ok(words)
}

/// Whether LightGBM has a bit for the category.
fn is_category(number: f64) -> bool {
    (0.0..=CATEGORY_MAX).contains(&number) && number.fract() == 0.0
}

/// The categories of a feature as LightGBM lists them in `feature_infos`.
fn info(categories: &Categories) -> String {
    let numbers: Vec<String> = match categories {
        Categories::Number(values) | Categories::Whole(values) => {
            let known = values.iter().copied().filter(|value| is_category(*value));
            known.map(|value| value.to_string()).collect()
        }
        Categories::Text(_) | Categories::Codes(_) => {
            (0..categories.len()).map(|place| place.to_string()).collect()
        }
    };
    // Without any category there is one nevertheless: an item that is empty is not there.
    if numbers.is_empty() { "0".to_owned() } else { numbers.join(":") }
}

fn spaced(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
