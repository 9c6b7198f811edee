package server

import "errors"

// openDatabases opens the history and the databases of a data directory.
func openDatabases(Config) (databases, error) {
	return nil, errors.New("not there yet")
}
