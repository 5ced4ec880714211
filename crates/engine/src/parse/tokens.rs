//! How deep the tree of a text can become, from its words alone.

use std::mem;

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::{NESTING_MAX, too_deep};

/// The most operators one after the other. Even a tree that is this deep can be dropped, which is
/// what the parser does with it where the text ends in a mistake.
const CHAIN_MAX: usize = 10_000;

/// Refuses a text that would be parsed to a tree so deep that it could not even be dropped, or that
/// the parser would call itself for without counting.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), DataFusionError> {
    let mut bound = Bound::default();
    let mut before = None;
    for token in tokens.iter().map(|token| &token.token) {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        bound.see(before, token);
        before = Some(token);
        if bound.types > NESTING_MAX {
            return Err(too_deep("a type is nested too deeply", NESTING_MAX));
        }
        if bound.explains > NESTING_MAX {
            return Err(too_deep("`EXPLAIN` is repeated too often", NESTING_MAX));
        }
        if bound.depth() > CHAIN_MAX {
            return Err(too_deep("there are too many operators in a row", CHAIN_MAX));
        }
    }
    Ok(())
}

/// What a tree can be at most, as far as the text was seen.
#[derive(Default)]
struct Bound {
    here: Group,
    around: Vec<Group>,
    /// The depths of `around`.
    around_depth: usize,
    /// The arms of set operations, which go on after a comma.
    sets: usize,
    /// Types within types, as in `ARRAY<ARRAY<INT>>`.
    types: usize,
    explains: usize,
}

/// What stands between two brackets, or between `CASE` and `END`.
#[derive(Default)]
struct Group {
    is_case: bool,
    /// Operators between two commas, by how they bind: `OR` is above each run of `AND`, and that is
    /// above each run of others. The longest runs count, since the first may be below all `OR`.
    ors: usize,
    ands: Run,
    others: Run,
    /// `BETWEEN` whose `AND` is still to come, which is no `AND`.
    betweens: usize,
    /// The deepest group that was closed between two commas.
    inner: usize,
    /// The deepest of what came before the last comma.
    before: usize,
}

#[derive(Default)]
struct Run {
    now: usize,
    longest: usize,
}

impl Run {
    fn add(&mut self) {
        self.now += 1;
        self.longest = self.longest.max(self.now);
    }
}

impl Group {
    const fn depth(&self) -> usize {
        self.ors + self.ands.longest + self.others.longest + self.inner
    }

    fn total(&self) -> usize {
        self.before.max(self.depth())
    }

    fn or(&mut self) {
        self.ors += 1;
        (self.ands.now, self.others.now) = (0, 0);
    }

    fn and(&mut self) {
        if self.betweens > 0 {
            self.betweens -= 1;
            self.others.add();
        } else {
            self.ands.add();
            self.others.now = 0;
        }
    }

    /// What follows is an expression of its own.
    fn comma(&mut self) {
        *self = Self { is_case: self.is_case, before: self.total(), ..Self::default() };
    }
}

impl Bound {
    fn depth(&self) -> usize {
        self.around_depth + self.here.total() + self.sets
    }

    fn open(&mut self, is_case: bool) {
        self.here.others.add();
        self.around_depth += self.here.depth();
        let inner = Group { is_case, ..Group::default() };
        self.around.push(mem::replace(&mut self.here, inner));
    }

    fn close(&mut self) {
        let inner = self.here.total();
        self.here = self.around.pop().unwrap_or_default();
        self.around_depth = self.around_depth.saturating_sub(self.here.depth());
        self.here.inner = self.here.inner.max(inner);
    }

    fn see(&mut self, before: Option<&Token>, token: &Token) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.open(false),
            Token::RParen | Token::RBracket | Token::RBrace => {
                // A `CASE` without an end is a mistake that the parser finds.
                while self.here.is_case {
                    self.close();
                }
                self.close();
            }
            Token::Comma => self.here.comma(),
            Token::Lt => {
                self.here.others.add();
                self.types += usize::from(before.is_some_and(has_types));
            }
            Token::Gt => {
                self.here.others.add();
                self.types = self.types.saturating_sub(1);
            }
            Token::ShiftRight => {
                self.here.others.add();
                self.types = self.types.saturating_sub(2);
            }
            Token::Word(word) => self.word(word),
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EOF => {}
            _ => self.here.others.add(),
        }
    }

    fn word(&mut self, word: &Word) {
        match word.keyword {
            Keyword::NoKeyword => {}
            Keyword::OR => self.here.or(),
            Keyword::AND => self.here.and(),
            Keyword::CASE => self.open(true),
            Keyword::END if self.here.is_case => self.close(),
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                self.sets += 1;
            }
            Keyword::EXPLAIN => self.explains += 1,
            keyword => {
                self.here.betweens += usize::from(keyword == Keyword::BETWEEN);
                self.here.others.add();
            }
        }
    }
}

/// Whether a type can begin with this word and go on with `<`.
fn has_types(before: &Token) -> bool {
    let Token::Word(word) = before else { return false };
    matches!(word.keyword, Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP)
}
