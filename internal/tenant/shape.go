package tenant

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/agentdb/agentdb/internal/sqlite"
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
		n := sqlite.Lexeme(sql)
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
	case sqlite.IsBlank(token):
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
	case c == '?' || c == '\'' || '0' <= c && c <= '9' || c == '.' && len(token) > 1:
		return true
	case c == 'x' || c == 'X':
		return len(token) > 1 && token[1] == '\''
	case c == '"':
		return strings.ContainsFunc(strings.Trim(token, `"`), func(r rune) bool { return !sqlite.IsWord(byte(min(r, utf8.RuneSelf))) }) || len(token) > 64
	}
	return false
}
