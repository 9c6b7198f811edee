package tenant

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Bounds of a shape, in bytes.
const (
	maxShape = 512
	maxShown = 16 << 10 // of a statement
)

// shape returns a statement's text without its values: literals and parameters
// without a name are ?, lists of them one ?; comments and needless space are
// left out, and so is what is too long. Text in double quotes, which SQLite takes
// for a name if there is one and for a literal otherwise, is kept if it could be
// a word.
func shape(sql string) string {
	cut := len(sql) > maxShown
	if cut {
		sql = sql[:maxShown]
	}
	b := make([]byte, 0, min(len(sql), maxShape)+16)
	for sql != "" && len(b) <= maxShape {
		n := lexeme(sql)
		b = appendToken(b, sql[:n])
		sql = sql[n:]
	}
	if b = bytes.TrimSpace(b); len(b) > maxShape || cut || sql != "" {
		b = b[:min(len(b), maxShape)]
		for len(b) > 0 && !utf8.Valid(b[max(0, len(b)-utf8.UTFMax):]) && !utf8.RuneStart(b[len(b)-1]) {
			b = b[:len(b)-1]
		}
		b = append(b, "…"...)
	}
	return strings.ToValidUTF8(string(b), "")
}

// appendToken adds a token to a shape.
func appendToken(b []byte, token string) []byte {
	switch c := token[0]; {
	case isSpace(c) || strings.HasPrefix(token, "--") || strings.HasPrefix(token, "/*"):
		if n := len(b); n > 0 && !strings.ContainsRune(" (,", rune(b[n-1])) {
			b = append(b, ' ')
		}
		return b
	case c == ';':
		return b
	case c == ',' || c == ')' || c == '(':
		b = append(bytes.TrimSuffix(b, []byte(" ")), c)
		if c == ')' {
			b = once(b, "(?)")
		}
		return b
	case isValue(token):
		return once(append(b, '?'), "?")
	}
	return append(b, token...)
}

// once takes back what was added if it repeats what is before it in a list.
func once(b []byte, what string) []byte {
	if bytes.HasSuffix(b, []byte(what+","+what)) {
		b = b[:len(b)-len(what)-1]
	}
	return b
}

// isValue reports whether a token is no part of a statement's shape.
func isValue(token string) bool {
	switch c := token[0]; {
	case c == '?' || c == '\'' || isDigit(c) || c == '.' && len(token) > 1:
		return true
	case c == 'x' || c == 'X':
		return len(token) > 1 && token[1] == '\''
	case c == '"':
		return strings.ContainsFunc(strings.Trim(token, `"`), func(r rune) bool { return !isWord(byte(min(r, 127))) }) || len(token) > 64
	}
	return false
}

// lexeme returns the length of a text's first token, 1 at least.
func lexeme(s string) int {
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
	case isWord(c):
		return span(s, isWord)
	}
	return 1
}

// number returns the length of a number: in e+1 and e-1 there is a sign.
func number(s string) int {
	n := span(s, func(c byte) bool { return isWord(c) || c == '.' })
	hex := len(s) > 1 && (s[1] == 'x' || s[1] == 'X')
	if last := s[n-1]; !hex && (last == 'e' || last == 'E') && n+1 < len(s) && (s[n] == '+' || s[n] == '-') && isDigit(s[n+1]) {
		n += 1 + span(s[n+1:], isWord)
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

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isWord(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}
