"""An explicit-state model of the rules by which things are removed (docs/design.md, Removal), as the code keeps them.

Gateways, the collector, retention, undo and clients are actors over a store; every order of their requests is tried, with crashes, lost
answers, clocks that differ, and maintenance that sleeps between any two of its requests. `engine` explores, `invariants` tell what is
wrong, `scenarios` are small cases, and `world.Rule` names each rule, which a test switches off to see the model find what breaks.
A request of an actor is one of the code to the store, in the same order. Whoever changes one of these methods changes its actor:

    actor                              method
    shelf.write, bury                  Shelf.write, Shelf.bury, and what ObjectStore.put makes of a lost answer
    shelf.earlier, view                Shelf.recent, before the request; Blobs.view and Manifests._view
    catalog.enter, note_deletion       Catalog.enter, Catalog.note_deletion; deleted_since: Catalog.deleted_since
    blobs.find, mount, delete          Blobs.find, Blobs.mount, Blobs.delete
    blobs.shared, publish, link        Blobs.shared, Blobs.publish, Blobs._link and so Blobs.adopt
    uploads.upload, commit, cancel     Uploads.append and commit, Uploads._publish, Uploads.cancel
    manifests.put                      Manifests.put; require, write_all, confirm, refer, point: _require, _write, _confirm, _refer, _move
    manifests.delete, clean_up         Manifests.delete; _clean_up and _withdraw
    manifests.resolve                  Manifests.resolve, _pointed
    tags.move, remove                  Tags.move, Tags.remove; remove_generation: Tags.remove_generation
    collector.retire_links             Walk for the manifests, Verdicts._retire for a link; retire: Run.look and Run.retire
    collector.retire_markers           Collector._retire_markers
    collector.delete_dead              Verdicts.all, _chunk, _judge and _delete; reread: Verdicts._read_names
    collector.sweep, purge             Walk._data and Collector._sweep; Run.purge
    collector.bury_dead                Walk._read_pointers; bury_if_dead: Walk._bury_if_dead
    retention.retain                   Retention, for one manifest that a policy keeps only by a tag or an index
    undo.undo                          Undo._link, _relink, _copy

Left out: more than one digest, since digests share nothing but a repository's marker; the epoch that processes of one host share, so that
views live as long as they may; the lease and the journal, on which no safety rests; and a request that the store applies after its sender
gave it up, for which the periods leave room. `python -m tests.model` explores more than the tests do.
"""
