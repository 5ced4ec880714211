//! How deep the tree of a text can become, from its words alone.

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

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

#[derive(Default)]
struct Bound {
    /// The operators of what is open around this place, and of what is begun here.
    around: Vec<usize>,
    around_sum: usize,
    here: usize,
    /// The arms of set operations, which go on after a comma.
    sets: usize,
    /// Types within types, as in `ARRAY<ARRAY<INT>>`.
    types: usize,
    explains: usize,
}

impl Bound {
    fn depth(&self) -> usize {
        self.around_sum + self.here + self.sets
    }

    fn see(&mut self, before: Option<&Token>, token: &Token) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                self.here += 1;
                self.around.push(self.here);
                self.around_sum += self.here;
                self.here = 0;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                self.here = self.around.pop().unwrap_or(0);
                self.around_sum -= self.here;
            }
            // What follows is an expression of its own.
            Token::Comma => self.here = 0,
            Token::Lt => {
                self.here += 1;
                self.types += usize::from(before.is_some_and(has_types));
            }
            Token::Gt => {
                self.here += 1;
                self.types = self.types.saturating_sub(1);
            }
            Token::ShiftRight => {
                self.here += 1;
                self.types = self.types.saturating_sub(2);
            }
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => {}
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                    self.sets += 1;
                }
                Keyword::EXPLAIN => self.explains += 1,
                _ => self.here += 1,
            },
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EOF => {}
            _ => self.here += 1,
        }
    }
}

/// Whether a type can begin with this word and go on with `<`.
fn has_types(before: &Token) -> bool {
    let Token::Word(word) = before else { return false };
    matches!(word.keyword, Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP)
}
