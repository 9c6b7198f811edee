package shell

import "strings"

// endOfStatement returns the length of the first statement in s, its semicolon
// included, or -1 if it isn't complete. Semicolons inside strings, names,
// comments and the bodies of triggers don't end a statement.
func endOfStatement(s string) int {
	var t statementState
	for i := 0; i < len(s); {
		tok, n := token(s[i:])
		if n < 0 {
			return -1
		}
		i += n
		if t.ends(tok) {
			return i
		}
	}
	return -1
}

// statementState follows the tokens of a statement.
type statementState struct {
	words   []string // the first words, to recognise a trigger
	trigger bool
	last    string // the last two tokens
	before  string
}

// ends takes the next token and reports whether the statement ends with it. A
// trigger ends with "; END ;".
func (t *statementState) ends(tok string) bool {
	if tok == "" {
		return false
	}
	if len(t.words) < 6 && !t.trigger {
		t.words = append(t.words, tok)
		t.trigger = isTrigger(t.words)
	}
	end := tok == ";" && (!t.trigger || t.last == "END" && t.before == ";")
	t.before, t.last = t.last, tok
	return end
}

// isTrigger reports whether the words are those that begin a trigger.
func isTrigger(words []string) bool {
	switch text := strings.Join(words, " "); strings.TrimPrefix(strings.TrimPrefix(text, "EXPLAIN "), "QUERY PLAN ") {
	case "CREATE TRIGGER", "CREATE TEMP TRIGGER", "CREATE TEMPORARY TRIGGER":
		return true
	default:
		return false
	}
}

// token reads one token: a word in capitals, ";", "x" for anything else, or ""
// for space and comments. n is its length, -1 if it isn't complete.
func token(s string) (tok string, n int) {
	switch c := s[0]; {
	case c == ';':
		return ";", 1
	case c == '\'' || c == '"' || c == '`':
		return "x", closing(s, 1, string(c))
	case c == '[':
		return "x", closing(s, 1, "]")
	case strings.HasPrefix(s, "--"):
		if n = strings.IndexByte(s, '\n'); n < 0 {
			return "", len(s)
		}
		return "", n + 1
	case strings.HasPrefix(s, "/*"):
		return "", closing(s, 2, "*/")
	case strings.IndexByte(" \t\r\n\f", c) >= 0:
		return "", 1
	case wordByte(c):
		for n < len(s) && wordByte(s[n]) {
			n++
		}
		return strings.ToUpper(s[:n]), n
	default:
		return "x", 1
	}
}

// closing returns the length of s up to and with end, which is looked for from
// a position on; -1 if there is none.
func closing(s string, from int, end string) int {
	n := strings.Index(s[from:], end)
	if n < 0 {
		return -1
	}
	return from + n + len(end)
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// words returns the first n words of a statement in capitals, past comments.
func words(s string, n int) []string {
	var list []string
	for i := 0; i < len(s) && len(list) < n; {
		tok, size := token(s[i:])
		if size < 0 {
			break
		}
		i += size
		if tok != "" {
			list = append(list, tok)
		}
	}
	return list
}

// oneLine writes a statement on one line, with single spaces outside of
// literals, names and comments. It reports whether that can be done: not if one
// of these goes over several lines, or a comment would swallow what follows.
func oneLine(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		tok, n := token(s[i:])
		if n < 0 {
			return "", false
		}
		part := s[i : i+n]
		i += n
		switch {
		case tok == "" && strings.TrimSpace(part) == "":
			if b.Len() > 0 && !strings.HasSuffix(b.String(), " ") {
				b.WriteByte(' ')
			}
		case strings.Contains(part, "\n") || strings.HasPrefix(part, "--"):
			return "", false
		default:
			b.WriteString(part)
		}
	}
	return strings.TrimRight(b.String(), " "), true
}

// hasWord reports whether a statement has a word outside of strings and comments.
func hasWord(s, word string) bool {
	for i := 0; i < len(s); {
		tok, size := token(s[i:])
		if size < 0 {
			return false
		}
		if tok == word {
			return true
		}
		i += size
	}
	return false
}

// blank reports whether there is nothing but space, comments and semicolons.
func blank(s string) bool {
	for i := 0; i < len(s); {
		tok, size := token(s[i:])
		switch {
		case size < 0:
			return false
		case tok != "" && tok != ";":
			return false
		}
		i += size
	}
	return true
}
