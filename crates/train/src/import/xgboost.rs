//! The JSON that XGBoost saves.

mod categories;
mod head;

use icecore_core::Result;
use serde::Deserialize;

use self::categories::{Cats, Named};
use self::head::{Head, Param, TreeParam};
use super::{Imported, ImportedScorer, build, corrupt, gains, unsupported};
use crate::arithmetic::ln;
use crate::tree::{CategorySet, Ensemble, Link, Node, Question, Side, Split, Tree};

/// The most features of a model.
const FEATURES_MAX: usize = 100_000;
/// The most classes of a model.
const CLASSES_MAX: usize = 1_000;

#[derive(Deserialize)]
struct File {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    learner_model_param: Param,
    objective: Objective,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Deserialize, Default)]
struct Attributes {
    /// The best round, where learning was stopped early.
    best_iteration: Option<String>,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    #[serde(default)]
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    trees: Vec<RawTree>,
    tree_info: Vec<usize>,
    #[serde(default)]
    cats: Cats,
    #[serde(default)]
    gbtree_model_param: TreesParam,
}

#[derive(Deserialize, Default)]
struct TreesParam {
    num_parallel_tree: Option<String>,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct RawTree {
    #[serde(default)]
    tree_param: TreeParam,
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<usize>,
    split_conditions: Vec<f32>,
    default_left: Vec<u8>,
    #[serde(default)]
    split_type: Vec<u8>,
    /// The nodes that ask for categories, and where the categories of each are.
    #[serde(default)]
    categories_nodes: Vec<i64>,
    #[serde(default)]
    categories_segments: Vec<usize>,
    #[serde(default)]
    categories_sizes: Vec<usize>,
    #[serde(default)]
    categories: Vec<i64>,
    #[serde(default)]
    sum_hessian: Vec<f64>,
    #[serde(default)]
    loss_changes: Vec<f64>,
}

pub(super) fn read_json(text: &str) -> Result<Imported> {
    let file = serde_json::from_str(text).map_err(|error| {
        // Numbers that are none are no JSON, but XGBoost writes them.
        let head = serde_json::from_str::<Head>(&text.replace("NaN", "null"));
        let refusal = || corrupt("it is no JSON of XGBoost").with_source(error);
        head.ok().and_then(|head| head.check().err()).unwrap_or_else(refusal)
    })?;
    convert(file)
}

/// Reads what was UBJSON.
pub(super) fn read(document: serde_json::Value) -> Result<Imported> {
    if let Ok(head) = Head::deserialize(&document) {
        head.check()?;
    }
    let file = serde_json::from_value(document)
        .map_err(|error| corrupt("it is no UBJSON of XGBoost").with_source(error))?;
    convert(file)
}

fn convert(file: File) -> Result<Imported> {
    let learner = file.learner;
    let model = match (learner.gradient_booster.name.as_str(), learner.gradient_booster.model) {
        ("gbtree", Some(model)) => model,
        (name, _) => return Err(unsupported(&format!("the booster `{name}` of XGBoost"))),
    };
    let param = &learner.learner_model_param;
    head::check(param, model.trees.iter().map(|tree| &tree.tree_param))?;
    let features = number(&param.num_feature)?;
    let outputs = number(&param.num_class)?.max(1);
    if features > FEATURES_MAX || outputs > CLASSES_MAX {
        return Err(unsupported(&format!(
            "a model of {features} features and {outputs} classes: at most {FEATURES_MAX} and \
             {CLASSES_MAX} are read"
        )));
    }
    let names = match learner.feature_names {
        names if names.len() == features => names,
        names if names.is_empty() => (0..features).map(|at| format!("Column_{at}")).collect(),
        _ => return Err(corrupt("it has another number of names than of features")),
    };
    let link = meaning(&learner.objective.name)?;
    if (link == Link::Softmax) != (outputs > 1) {
        return Err(unsupported("a model of several outputs that are no classes"));
    }
    let bases = bases(&param.base_score, link, outputs)?;
    let all = in_turn(&model, outputs)?;
    let used = up_to_the_best(&all, (&learner.attributes, &model.gbtree_model_param, outputs))?;
    let mut params = vec![("objective", learner.objective.name)];
    if used.len() < all.len() {
        params.push(("trees", format!("{} of {}, up to the best round", used.len(), all.len())));
    }
    let named = categories::named(&model.cats, features)?;
    let convert = |tree: &&RawTree| tree.convert(features, &named);
    let trees = used.iter().map(convert).collect::<Result<Vec<Tree>>>()?;
    let categories = categories::of_features(&model.trees, named)?;
    let gains = gains(&trees, features);
    let scorer = ImportedScorer::Trees(Ensemble { link, bases, trees, gains });
    Ok(Imported { format: "xgboost", params, names, categories, steps: Vec::new(), scorer })
}

fn number(text: &str) -> Result<usize> {
    text.parse().map_err(|_| corrupt(&format!("`{text}` is no such number")))
}

/// The trees that count: where learning was stopped early, those up to the best round, as in
/// XGBoost's interface for scikit-learn.
fn up_to_the_best<'t, 'm>(
    trees: &'t [&'m RawTree],
    (attributes, param, outputs): (&Attributes, &TreesParam, usize),
) -> Result<&'t [&'m RawTree]> {
    let Some(best) = &attributes.best_iteration else { return Ok(trees) };
    let parallel = param.num_parallel_tree.as_deref().map_or(Ok(1), number)?.max(1);
    let rounds = number(best)?.saturating_add(1);
    let count = rounds.saturating_mul(parallel).saturating_mul(outputs);
    Ok(&trees[..count.min(trees.len())])
}

/// The trees of each class in turn. With `num_parallel_tree`, a round has several of one class,
/// whose sum counts.
fn in_turn(model: &Model, outputs: usize) -> Result<Vec<&RawTree>> {
    let mut of_class: Vec<Vec<&RawTree>> = vec![Vec::new(); outputs];
    for (tree, class) in model.trees.iter().zip(&model.tree_info) {
        match of_class.get_mut(*class) {
            Some(trees) => trees.push(tree),
            None => return Err(corrupt("a tree in it is of a class that is not there")),
        }
    }
    let rounds = of_class.first().map_or(0, Vec::len);
    if model.trees.len() != model.tree_info.len()
        || of_class.iter().any(|trees| trees.len() != rounds)
    {
        return Err(corrupt("its classes have not the same number of trees"));
    }
    Ok((0..rounds).flat_map(|round| of_class.iter().map(move |trees| trees[round])).collect())
}

fn meaning(objective: &str) -> Result<Link> {
    Ok(match objective {
        "binary:logistic" | "reg:logistic" => Link::Logistic,
        "binary:logitraw"
        | "reg:squarederror"
        | "reg:absoluteerror"
        | "reg:quantileerror"
        | "reg:pseudohubererror"
        | "rank:ndcg"
        | "rank:pairwise"
        | "rank:map" => Link::Identity,
        "count:poisson" | "reg:gamma" | "reg:tweedie" => Link::Exp,
        "multi:softprob" | "multi:softmax" => Link::Softmax,
        other => return Err(unsupported(&format!("the objective `{other}` of XGBoost"))),
    })
}

/// The base scores as raw scores. They are saved as predictions, since version 3 in a list.
fn bases(text: &str, link: Link, outputs: usize) -> Result<Vec<f64>> {
    let list = text.trim().trim_start_matches('[').trim_end_matches(']');
    let scores: Vec<f64> = list
        .split(',')
        .map(|score| score.trim().parse::<f32>().map(f64::from))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| corrupt("its base score is no number").with_source(error))?;
    let raw = |score: f64| match link {
        Link::Logistic if score > 0.0 && score < 1.0 => Ok(ln(score / (1.0 - score))),
        Link::Exp if score > 0.0 && score.is_finite() => Ok(ln(score)),
        Link::Logistic | Link::Exp => Err(corrupt("its base score is out of range")),
        _ => Ok(score),
    };
    let raw: Vec<f64> = scores.into_iter().map(raw).collect::<Result<_>>()?;
    match raw[..] {
        [one] => Ok(vec![one; outputs]),
        _ if raw.len() == outputs => Ok(raw),
        _ => Err(corrupt("it has another number of base scores than of classes")),
    }
}

impl RawTree {
    fn convert(&self, features: usize, named: &Named) -> Result<Tree> {
        let nodes = self.left_children.len();
        let lengths = [
            self.right_children.len(),
            self.split_indices.len(),
            self.split_conditions.len(),
            self.default_left.len(),
        ];
        if nodes == 0 || lengths.iter().any(|length| *length != nodes) {
            return Err(corrupt("a tree in it has lists of different lengths"));
        }
        build(0, nodes, |number| {
            let at = usize::try_from(number).ok().filter(|at| *at < nodes);
            let at = at.ok_or_else(|| corrupt("a node is not there"))?;
            let cover = self.sum_hessian.get(at).copied().unwrap_or(0.0);
            let condition = self.split_conditions[at];
            if self.left_children[at] < 0 {
                return Ok((Node::Leaf(f64::from(condition)), cover, 0.0, [0, 0]));
            }
            let feature = self.split_indices[at];
            if feature >= features || condition.is_nan() && self.split_type.get(at) != Some(&1) {
                return Err(corrupt("a split in it is out of bounds"));
            }
            let missing = if self.default_left[at] == 1 { Side::Left } else { Side::Right };
            let question = if self.split_type.get(at) == Some(&1) {
                Question::OneOf(self.others_than(number, named.get(&feature))?)
            } else {
                Question::AtMost(greatest_below(condition))
            };
            let split = Split { feature: feature as u32, question, missing, left: 0, right: 0 };
            let gain = self.loss_changes.get(at).copied().unwrap_or(0.0);
            let children = [self.left_children[at], self.right_children[at]];
            Ok((Node::Split(split), cover, gain, children))
        })
    }
}

impl RawTree {
    /// The categories that a node does not name: those that it names go right.
    fn others_than(&self, node: i64, known: Option<&categories::Known>) -> Result<CategorySet> {
        let missing = || corrupt("a set of categories in it is not there");
        let at = self.categories_nodes.iter().position(|of| *of == node).ok_or_else(missing)?;
        let start = *self.categories_segments.get(at).ok_or_else(missing)?;
        let size = *self.categories_sizes.get(at).ok_or_else(missing)?;
        let end = start.checked_add(size).ok_or_else(missing)?;
        let named = self.categories.get(start..end).ok_or_else(missing)?;
        match known {
            None => categories::other_numbers(named),
            Some(known) => known.others_than(named),
        }
    }
}

/// The greatest double that becomes a float below the condition: XGBoost turns values into floats
/// and asks whether they are less.
fn greatest_below(condition: f32) -> f64 {
    let before = condition.next_down();
    if before == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    // Between two floats, the even one wins a tie.
    let middle = if condition == f32::INFINITY {
        // As if the next float were finite: from there on, doubles become infinity.
        f64::from(before) + (f64::from(before) - f64::from(before.next_down())) / 2.0
    } else {
        (f64::from(before) + f64::from(condition)) / 2.0
    };
    if before.to_bits() & 1 == 0 { middle } else { middle.next_down() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_divides_doubles_as_it_divides_floats() {
        for condition in [0.1_f32, 1.0, -0.5, 0.0, 1e-40, 3.4e38, 16_777_217.0, f32::INFINITY] {
            let threshold = greatest_below(condition);
            assert!((threshold as f32) < condition, "{condition}");
            assert!(threshold.next_up() as f32 >= condition, "{condition}");
        }
    }
}
