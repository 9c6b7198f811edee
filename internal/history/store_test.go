package history_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/history/historytest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func openMem(t *testing.T) history.Store {
	s, err := history.Open(history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Run("pebble", func(t *testing.T) { historytest.Test(t, openMem) })
	t.Run("few handles", func(t *testing.T) {
		historytest.Test(t, func(t *testing.T) history.Store {
			s, err := history.Open(history.Options{Handles: 1})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
	t.Run("model", func(t *testing.T) {
		historytest.Test(t, func(*testing.T) history.Store { return historytest.NewModel() })
	})
}
