package turso

import (
	"strconv"
	"strings"
)

// Policy returns the statement that makes a temporary trigger of another's
// checks: the SELECTs with RAISE which it begins with, and none of its writes,
// nor what comes after them. Whatever RAISE rolls back there, the temporary
// trigger refuses the statement alone. ok is false if there is no such check.
// sql is the text that the schema holds.
func Policy(sql, name string) (check string, ok bool) {
	s := &scanner{s: sql}
	if !s.word("CREATE") || !s.word("TRIGGER") {
		return "", false
	}
	s.next() // the name
	var b strings.Builder
	b.WriteString("CREATE TEMP TRIGGER " + name + " ")
	for depth := 0; ; {
		from := s.at
		switch t := s.next(); {
		case t == "" || strings.EqualFold(t, "INSTEAD"):
			return "", false
		case t == "(":
			depth++
		case t == ")":
			depth--
		}
		b.WriteString(s.s[from:s.at])
		if depth == 0 && strings.EqualFold(s.token, "BEGIN") {
			break
		}
	}
	for {
		text, raises := s.statement()
		if text == "" {
			break
		}
		if raises {
			b.WriteString(text + ";")
			ok = true
		}
	}
	b.WriteString(" END")
	return b.String(), ok
}

// statement reads one of a trigger's statements, if it is a SELECT. RAISE aborts
// in it.
func (s *scanner) statement() (text string, raises bool) {
	from := s.at
	switch strings.ToUpper(s.next()) {
	case "SELECT", "VALUES", "WITH":
	default:
		return "", false
	}
	var b strings.Builder
	b.WriteString(s.s[from:s.at])
	raise := 0 // how much of RAISE( was read
	for {
		from := s.at
		t := s.next()
		switch {
		case t == "":
			return "", false
		case t == ";":
			return b.String(), raises
		case strings.EqualFold(t, "RAISE"):
			raise = 1
		case raise == 1 && t == "(":
			raise = 2
		case raise == 2:
			raise, raises = 0, true
			if strings.EqualFold(t, "ROLLBACK") || strings.EqualFold(t, "FAIL") {
				b.WriteString(" ABORT")
				continue
			}
		default:
			raise = 0
		}
		b.WriteString(s.s[from:s.at])
	}
}

// scanner reads the tokens of SQL.
type scanner struct {
	s     string
	at    int
	token string
}

// word reads the next token and reports whether it is that one.
func (s *scanner) word(w string) bool { return strings.EqualFold(s.next(), w) }

// next reads the next token; "" is the end.
func (s *scanner) next() string {
	s.space()
	from := s.at
	if from == len(s.s) {
		s.token = ""
		return ""
	}
	switch c := s.s[from]; {
	case c == '\'' || c == '"' || c == '`':
		s.quoted(c)
	case c == '[':
		s.quoted(']')
	case isWord(c):
		for s.at < len(s.s) && isWord(s.s[s.at]) {
			s.at++
		}
	default:
		s.at++
	}
	s.token = s.s[from:s.at]
	return s.token
}

// quoted skips what is quoted up to its end; a doubled quote is two of them.
func (s *scanner) quoted(end byte) {
	if n := strings.IndexByte(s.s[s.at+1:], end); n >= 0 {
		s.at += n + 2
	} else {
		s.at = len(s.s)
	}
}

// space skips white space and comments.
func (s *scanner) space() {
	for s.at < len(s.s) {
		rest := s.s[s.at:]
		switch {
		case strings.IndexByte(" \t\r\n\f", rest[0]) >= 0:
			s.at++
		case strings.HasPrefix(rest, "--"):
			s.skip(2, "\n")
		case strings.HasPrefix(rest, "/*"):
			s.skip(2, "*/")
		default:
			return
		}
	}
}

func (s *scanner) skip(n int, end string) {
	if i := strings.Index(s.s[s.at+n:], end); i >= 0 {
		s.at += n + i + len(end)
	} else {
		s.at = len(s.s)
	}
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// PolicyName is the name of the n-th temporary trigger.
func PolicyName(n int) string { return "agentdb_policy_" + strconv.Itoa(n) }
