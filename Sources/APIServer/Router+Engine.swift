import Engine

extension Router {
    /// Every endpoint of the Engine API; what this daemon does not do is refused with a sentence.
    init(_ engine: Engine) {
        self.init()
        log = engine.log
        addContainers(engine)
        addContainerStreams(engine)
        addExecs(engine)
        addArchives(engine)
        addImages(engine)
        addVolumes(engine)
        addNetworks(engine)
        addSystem(engine)
        addAbsent()
    }
}
