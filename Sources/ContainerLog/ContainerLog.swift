// ContainerLog
