package sqlite

import "strings"

// Lexeme returns the length of the first token of SQL that is not empty: of a
// word, a number, a quoted name or literal, a run of space, a comment, or else a
// byte. What doesn't end goes up to the text's end. It follows SQLite's tokenizer,
// https://www.sqlite.org/src/file/src/tokenize.c.
func Lexeme(s string) int {
	switch c := s[0]; {
	case isSpace(c):
		return span(s, isSpace)
	case strings.HasPrefix(s, "--"):
		return until(s, 2, "\n")
	case strings.HasPrefix(s, "/*"):
		return until(s, 2, "*/")
	case c == '\'' || c == '"' || c == '`':
		return quoted(s, c)
	case c == '[':
		return until(s, 1, "]")
	case (c == 'x' || c == 'X') && len(s) > 1 && s[1] == '\'':
		return 1 + quoted(s[1:], '\'')
	case c == '?':
		return 1 + span(s[1:], isDigit)
	case isDigit(c) || c == '.' && len(s) > 1 && isDigit(s[1]):
		return number(s)
	case IsWord(c):
		return span(s, IsWord)
	}
	return 1
}

// number returns the length of a number: in e+1 and e-1 there is a sign.
func number(s string) int {
	n := span(s, func(c byte) bool { return IsWord(c) || c == '.' })
	hex := len(s) > 1 && (s[1] == 'x' || s[1] == 'X')
	if last := s[n-1]; !hex && (last == 'e' || last == 'E') && n+1 < len(s) && (s[n] == '+' || s[n] == '-') && isDigit(s[n+1]) {
		n += 1 + span(s[n+1:], IsWord)
	}
	return n
}

// quoted returns the length of a quoted text, in which a quote stands twice.
func quoted(s string, quote byte) int {
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			continue
		}
		if i++; i == len(s) || s[i] != quote {
			return i
		}
	}
	return len(s)
}

// until returns where the end of a token from its byte n on is.
func until(s string, n int, end string) int {
	if i := strings.Index(s[n:], end); i >= 0 {
		return n + i + len(end)
	}
	return len(s)
}

func span(s string, is func(byte) bool) int {
	for i := range len(s) {
		if !is(s[i]) {
			return i
		}
	}
	return len(s)
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' && c != '\v' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// IsBlank reports whether a text begins with space or a comment.
func IsBlank(s string) bool {
	return isSpace(s[0]) || strings.HasPrefix(s, "--") || strings.HasPrefix(s, "/*")
}

// IsWord reports whether a byte may be in a word of SQL: a name or a number.
func IsWord(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}

// Unquote returns the name that a token stands for.
func Unquote(token string) string {
	if len(token) < 2 {
		return token
	}
	switch q := token[0]; q {
	case '[':
		return strings.TrimSuffix(token[1:], "]")
	case '"', '\'', '`':
		return strings.ReplaceAll(strings.TrimSuffix(token[1:], string(q)), string([]byte{q, q}), string(q))
	}
	return token
}
