//go:build race

package agentdb_test

const raceEnabled = true
