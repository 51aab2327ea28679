// Command linearizable judges a history of operations on tags with Porcupine (https://github.com/anishathalye/porcupine).
//
// It reads JSON lines, one an operation, and prints its verdict as JSON. A tag is a register that holds a digest, or nothing. An operation
// without "return" was never answered: it may take effect at any time after its call, the end of time included.
//
// Exit status: 0 linearizable, 1 not, 2 undecided within the time limit, 3 a history that cannot be read.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// operation is one line. Times are in nanoseconds by one monotonic clock.
type operation struct {
	Client int    `json:"client"`
	Tag    string `json:"tag"`
	Kind   string `json:"kind"`  // write, read or delete
	Value  string `json:"value"` // the digest written or read; "" is none
	Found  bool   `json:"found"` // of a delete: whether it was told that the tag was there
	Call   int64  `json:"call"`
	Return *int64 `json:"return"`
}

// verdict is what is printed.
type verdict struct {
	Linearizable bool     `json:"linearizable"`
	Operations   int      `json:"operations"`
	Unanswered   int      `json:"unanswered"`
	Tags         int      `json:"tags"`
	Wrong        []string `json:"wrong"`     // the tags whose history no register could have
	Undecided    []string `json:"undecided"` // the tags that took too long
}

// model is a register. A DELETE that is told 404 changed nothing and found nothing. One that is told 202 leaves nothing: it may have come
// second to a DELETE that ran at the same time, which is why it need not have found the tag itself.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		asked := input.(operation)
		switch asked.Kind {
		case "write":
			return true, asked.Value
		case "read":
			return state == asked.Value, state
		default:
			return asked.Return == nil || asked.Found || state == "", ""
		}
	},
}

func main() {
	limit := flag.Duration("limit", time.Minute, "how long each tag may take")
	flag.Parse()
	operations, err := read()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	found := judge(operations, *limit)
	encoded, err := json.Marshal(found)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(encoded))
	switch {
	case len(found.Wrong) > 0:
		os.Exit(1)
	case len(found.Undecided) > 0:
		os.Exit(2)
	}
}

func read() ([]operation, error) {
	var operations []operation
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var read operation
		if err := json.Unmarshal(lines.Bytes(), &read); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(operations)+1, err)
		}
		if read.Kind != "write" && read.Kind != "read" && read.Kind != "delete" {
			return nil, fmt.Errorf("line %d: there is no operation %q", len(operations)+1, read.Kind)
		}
		operations = append(operations, read)
	}
	return operations, lines.Err()
}

func judge(operations []operation, limit time.Duration) verdict {
	found := verdict{Operations: len(operations), Wrong: []string{}, Undecided: []string{}}
	tags := map[string][]operation{}
	for _, each := range operations {
		tags[each.Tag] = append(tags[each.Tag], each)
		if each.Return == nil {
			found.Unanswered++
		}
	}
	found.Tags = len(tags)
	for tag, history := range tags {
		switch porcupine.CheckOperationsTimeout(model, prepared(history), limit) {
		case porcupine.Illegal:
			found.Wrong = append(found.Wrong, tag)
		case porcupine.Unknown:
			found.Undecided = append(found.Undecided, tag)
		}
	}
	sort.Strings(found.Wrong)
	sort.Strings(found.Undecided)
	found.Linearizable = len(found.Wrong)+len(found.Undecided) == 0
	return found
}

// prepared leaves out what decides nothing: reads that were not answered, and writes that were not answered and whose value nobody read,
// since they may come last. That keeps the search small, and its answer the same.
func prepared(history []operation) []porcupine.Operation {
	seen := map[string]bool{}
	for _, each := range history {
		if each.Kind == "read" && each.Return != nil {
			seen[each.Value] = true
		}
	}
	var kept []porcupine.Operation
	for _, each := range history {
		end := int64(math.MaxInt64)
		if each.Return != nil {
			end = *each.Return
		} else if each.Kind == "read" || (each.Kind == "write" && !seen[each.Value]) {
			continue
		}
		kept = append(kept, porcupine.Operation{ClientId: each.Client, Input: each, Call: each.Call, Return: end})
	}
	return kept
}
