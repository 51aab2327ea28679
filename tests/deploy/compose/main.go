// Compose reads a compose file as `docker compose config` does, with the reference implementation of the Compose specification: it prints
// the project in JSON, interpolated from this process's environment, or says what is wrong and ends with status 1.
//
// (compose-go has such a command itself, which leaves out the environment.)
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: compose FILE"))
	}
	file, err := filepath.Abs(os.Args[1])
	if err != nil {
		fail(err)
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(file),
		ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: types.NewMapping(os.Environ()),
	})
	if err != nil {
		fail(err)
	}
	content, err := project.MarshalJSON()
	if err != nil {
		fail(err)
	}
	fmt.Println(string(content))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
