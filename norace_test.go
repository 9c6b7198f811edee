//go:build !race

package agentdb_test

const raceEnabled = false
