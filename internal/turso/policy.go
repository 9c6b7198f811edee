package turso

import (
	"strconv"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
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

// next reads the next token, past space and comments; "" is the end.
func (s *scanner) next() string {
	for s.token = ""; s.at < len(s.s); {
		from := s.at
		s.at += sqlite.Lexeme(s.s[from:])
		if s.token = s.s[from:s.at]; !sqlite.IsBlank(s.token) {
			return s.token
		}
	}
	s.token = ""
	return ""
}

// PolicyName is the name of the n-th temporary trigger.
func PolicyName(n int) string { return "agentdb_policy_" + strconv.Itoa(n) }
