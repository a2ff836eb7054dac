// A pluggable component as the documentation of github.com/dapr-sandbox/components-go-sdk has it:
// bindings.spool. Its input reads the files of a folder, and removes each when the app has taken
// it; what became of an event is appended to the file "told" beside the folder. While there is a
// file "brief" beside it, the input hears of no answers, and ends its stream when the file goes. Its
// output answers with what it is sent.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	dapr "github.com/dapr-sandbox/components-go-sdk"
	sdk "github.com/dapr-sandbox/components-go-sdk/bindings/v1"
	contrib "github.com/dapr/components-contrib/bindings"
)

type spool struct {
	folder     string
	operations []contrib.OperationKind
	prepared   int
	busy       sync.Map
}

type event struct {
	Data     string            `json:"data"`
	Metadata map[string]string `json:"metadata"`
}

func (s *spool) Init(_ context.Context, metadata contrib.Metadata) error {
	s.folder = metadata.Properties["folder"]
	if s.folder == "" {
		return errors.New("setting folder is missing")
	}
	s.operations = nil
	for _, name := range strings.Split(metadata.Properties["operations"], " ") {
		s.operations = append(s.operations, contrib.OperationKind(name))
	}
	s.prepared++
	return nil
}

func (s *spool) Read(ctx context.Context, handler contrib.Handler) error {
	go func() {
		for ctx.Err() == nil {
			files, _ := filepath.Glob(filepath.Join(s.folder, "*.json"))
			for _, file := range files {
				if _, busy := s.busy.LoadOrStore(file, true); !busy {
					go s.deliver(ctx, handler, file)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	// The SDK listens for answers when this has returned.
	for is := false; ; is = true {
		if _, err := os.Stat(s.folder + ".brief"); err != nil {
			if is {
				return errors.New("that was all for now")
			}
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Delivers a file, again and again until it is taken.
func (s *spool) deliver(ctx context.Context, handler contrib.Handler, file string) {
	defer s.busy.Delete(file)
	text, err := os.ReadFile(file)
	var event event
	if err != nil || json.Unmarshal(text, &event) != nil {
		return
	}
	for ctx.Err() == nil {
		reply, err := handler(ctx, &contrib.ReadResponse{Data: []byte(event.Data), Metadata: event.Metadata})
		s.told(fmt.Sprintf("%s: %q %v", event.Data, reply, err))
		if err == nil {
			os.Remove(file)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *spool) told(line string) {
	file, err := os.OpenFile(s.folder+".told", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		fmt.Fprintln(file, line)
		file.Close()
	}
}

func (s *spool) Operations() []contrib.OperationKind { return s.operations }

func (s *spool) Invoke(_ context.Context, request *contrib.InvokeRequest) (*contrib.InvokeResponse, error) {
	switch request.Operation {
	case "fail":
		return nil, errors.New("it cannot be done")
	case "crash":
		os.Exit(3)
	}
	metadata := map[string]string{"operation": string(request.Operation), "prepared": strconv.Itoa(s.prepared)}
	for name, value := range request.Metadata {
		metadata[name] = value
	}
	return &contrib.InvokeResponse{Data: request.Data, Metadata: metadata}, nil
}

func (s *spool) GetComponentMetadata() map[string]string { return nil }

func (s *spool) Close() error { return nil }

func main() {
	dapr.Register("spool",
		dapr.WithInputBinding(func() sdk.InputBinding { return &spool{} }),
		dapr.WithOutputBinding(func() sdk.OutputBinding { return &spool{} }))
	dapr.Register("outbox", dapr.WithOutputBinding(func() sdk.OutputBinding { return &spool{} }))
	dapr.Register("inbox", dapr.WithInputBinding(func() sdk.InputBinding { return &spool{} }))
	dapr.MustRun()
}
