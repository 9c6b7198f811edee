package agentdb

import "strings"

// verb is what the first words of a statement say about how it has to be run.
type verb uint8

const (
	verbOther      verb = iota // everything else: SELECT, WITH, EXPLAIN, CREATE …
	verbInsert                 // INSERT, REPLACE: there may be a new row id
	verbWrite                  // UPDATE, DELETE and DDL: there is no new row id
	verbBare                   // can't run inside a transaction: VACUUM, ATTACH, DETACH, PRAGMA
	verbBegin                  // BEGIN
	verbCommit                 // COMMIT, END
	verbRollback               // ROLLBACK
	verbSavepoint              // SAVEPOINT name
	verbRelease                // RELEASE name
	verbRollbackTo             // ROLLBACK TO name
)

// control tells whether the statement begins or ends a transaction or a savepoint.
func (v verb) control() bool { return v >= verbBegin }

// classify reads the first words of a statement. name is the savepoint's.
func classify(sql string) (v verb, name string) {
	word, rest := nextToken(sql)
	switch strings.ToUpper(word) {
	case "INSERT", "REPLACE":
		return verbInsert, ""
	case "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE":
		return verbWrite, ""
	case "VACUUM", "ATTACH", "DETACH", "PRAGMA":
		return verbBare, ""
	case "BEGIN":
		return verbBegin, ""
	case "COMMIT", "END":
		return verbCommit, ""
	case "SAVEPOINT":
		name, _ = nextToken(rest)
		return verbSavepoint, unquote(name)
	case "RELEASE":
		return verbRelease, savepointName(rest)
	case "ROLLBACK":
		return classifyRollback(rest)
	}
	return verbOther, ""
}

// classifyRollback reads what follows ROLLBACK: [TRANSACTION] [TO [SAVEPOINT] name].
func classifyRollback(rest string) (verb, string) {
	word, rest := nextToken(rest)
	if strings.EqualFold(word, "TRANSACTION") {
		word, rest = nextToken(rest)
	}
	if strings.EqualFold(word, "TO") {
		return verbRollbackTo, savepointName(rest)
	}
	return verbRollback, ""
}

// savepointName reads [SAVEPOINT] name.
func savepointName(s string) string {
	word, rest := nextToken(s)
	if strings.EqualFold(word, "SAVEPOINT") {
		if next, _ := nextToken(rest); next != "" && next != ";" {
			word = next
		}
	}
	return unquote(word)
}

// nextToken skips white space, comments and empty statements, and returns the next word or quoted name.
func nextToken(s string) (token, rest string) {
	s = skipBlank(s)
	if s == "" {
		return "", ""
	}
	if end, ok := map[byte]byte{'"': '"', '\'': '\'', '`': '`', '[': ']'}[s[0]]; ok {
		return quotedToken(s, end)
	}
	i := 0
	for i < len(s) && isWordByte(s[i]) {
		i++
	}
	if i == 0 {
		i = 1
	}
	return s[:i], s[i:]
}

// quotedToken returns the quoted name at the start of s, quotes included. A doubled quote is part of the name.
func quotedToken(s string, end byte) (token, rest string) {
	for i := 1; i < len(s); i++ {
		if s[i] != end {
			continue
		}
		if end != ']' && i+1 < len(s) && s[i+1] == end {
			i++
			continue
		}
		return s[:i+1], s[i+1:]
	}
	return s, ""
}

func isWordByte(b byte) bool {
	return b == '_' || b == '$' || b >= 0x80 || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// skipBlank drops leading white space, comments and semicolons.
func skipBlank(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n\f;\ufeff")
		switch {
		case strings.HasPrefix(s, "--"):
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "/*"):
			_, s, _ = strings.Cut(s[2:], "*/")
		default:
			return s
		}
	}
}

// unquote returns the name that a token stands for.
func unquote(token string) string {
	if len(token) < 2 {
		return token
	}
	switch q := token[0]; q {
	case '[':
		return strings.TrimSuffix(token[1:], "]")
	case '"', '\'', '`':
		inner := strings.TrimSuffix(token[1:], string(q))
		return strings.ReplaceAll(inner, string(q)+string(q), string(q))
	}
	return token
}
