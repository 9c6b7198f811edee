package agentdb

import (
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

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
		return verbSavepoint, sqlite.Unquote(name)
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
	return sqlite.Unquote(word)
}

// nextToken skips white space, comments and empty statements, and returns the next word or quoted name.
func nextToken(s string) (token, rest string) {
	if s = skipBlank(s); s == "" {
		return "", ""
	}
	n := sqlite.Lexeme(s)
	return s[:n], s[n:]
}

// skipBlank drops leading white space, comments and semicolons.
func skipBlank(s string) string {
	for {
		s = strings.TrimLeft(s, ";\ufeff")
		if s == "" || !sqlite.IsBlank(s) {
			return s
		}
		s = s[sqlite.Lexeme(s):]
	}
}
