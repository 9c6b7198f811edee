package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
)

// settings are flags of remote that are kept in a file, by their names.
type settings map[string]string

// settingsPath is where they are kept.
func settingsPath() (string, error) {
	dir := os.Getenv("AGENTDB_CONFIG_FOLDER")
	if dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("where to keep settings: %w: set AGENTDB_CONFIG_FOLDER", err)
		}
		dir = filepath.Join(base, "agentdb")
	}
	return filepath.Join(dir, "settings.json"), nil
}

// readSettings returns what is kept; nothing if there is no file, or no place for
// one, as in a container.
func readSettings() (settings, error) {
	path, err := settingsPath()
	if err != nil {
		return settings{}, nil //nolint:nilerr // who sets something learns it
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return settings{}, nil
	} else if err != nil {
		return nil, err
	}
	s := settings{}
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// write keeps the settings, for their owner alone: there may be a token.
func (s settings) write() error {
	path, err := settingsPath()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".settings-") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error says more
	}
	return err
}

// settingsResolver gives flags that have a setting its value, unless they are on
// the command line or in the environment.
func settingsResolver() kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if !flag.Tag.Has("setting") || inEnvironment(flag) {
			return nil, nil
		}
		s, err := readSettings()
		if v, ok := s[flag.Name]; ok && err == nil {
			return v, nil
		}
		return nil, err
	})
}

// configCmd is "agentdb config".
type configCmd struct {
	Show  configShowCmd  `cmd:"" default:"1" help:"Show what is kept, and where; the default."`
	Set   configSetCmd   `cmd:"" help:"Keep the value of a flag."`
	Unset configUnsetCmd `cmd:"" help:"Keep it no more."`
}

type configShowCmd struct {
	JSON bool `name:"json" help:"Write JSON, for programs."`
}

// Run implements the command. It shows no token.
func (s *configShowCmd) Run(c *console) error {
	path, err := settingsPath()
	if err != nil {
		return err
	}
	kept, err := readSettings()
	if err != nil {
		return err
	}
	if kept["api-token"] != "" {
		kept["api-token"] = "(kept)"
	}
	if s.JSON {
		return c.writeJSON(map[string]any{"file": path, "settings": kept})
	}
	return c.writeFields([2]string{"file", path}, [2]string{"api-url", kept["api-url"]}, [2]string{"api-token", kept["api-token"]}, [2]string{"org", kept["org"]})
}

type configSetCmd struct {
	Name  string `arg:"" enum:"api-url,api-token,org" help:"${enum}."`
	Value string `arg:"" help:"Its value."`
}

// Run implements the command.
func (s *configSetCmd) Run(c *console) error {
	return changeSettings(c, func(kept settings) { kept[s.Name] = s.Value })
}

type configUnsetCmd struct {
	Name string `arg:"" enum:"api-url,api-token,org" help:"${enum}."`
}

// Run implements the command.
func (s *configUnsetCmd) Run(c *console) error {
	return changeSettings(c, func(kept settings) { delete(kept, s.Name) })
}

func changeSettings(c *console, fn func(settings)) error {
	s, err := readSettings()
	if err != nil {
		return err
	}
	fn(s)
	if err := s.write(); err != nil {
		return err
	}
	return (&configShowCmd{}).Run(c)
}
